//! `/v1/policies`: list, show, refresh, forget.

use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Json;
use mail_types::{Domain, Timestamp};
use outbound_queue::QueueStore;

use crate::control::Operator;
use crate::problem::Problem;
use crate::{Audit, Control, Page, PolicyDetail, PolicyView};

pub(crate) async fn list<S: QueueStore>(
    State(control): State<Control<S>>,
) -> Json<Page<PolicyView>> {
    let items = control.policies.list().iter().filter_map(row).collect();
    Json(Page { items, next: None })
}

pub(crate) async fn show<S: QueueStore>(
    State(control): State<Control<S>>,
    Path(domain): Path<String>,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    detail(&control, &domain).map(Json)
}

pub(crate) async fn refresh<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    let _look = control.policies.fresh_look(&domain).await;
    audit(&control, operator, "policy refresh", &domain);
    detail(&control, &domain).map(Json)
}

/// `?dangerous=true` forgets an unexpired enforce policy too.
pub(crate) async fn forget<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    let dangerous = match query.as_deref() {
        None | Some("" | "dangerous=false") => false,
        Some("dangerous=true") => true,
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "{other:?} is not dangerous=true or dangerous=false"
            )));
        }
    };
    let before = detail(&control, &domain)?;
    let order = control.order(operator, Some("policy forget".to_owned()));
    control.policies.forget(&domain, order, dangerous).await?;
    audit(&control, operator, "policy forget", &domain);
    Ok(Json(before))
}

fn audit<S: QueueStore>(control: &Control<S>, operator: Operator, action: &str, domain: &Domain) {
    control.daemon.audit(&Audit {
        at: control.now().wall,
        uid: operator.0,
        action,
        target: domain.as_str(),
        matched: 1,
        reason: None,
    });
}

fn parse(domain: &str) -> Result<Domain, Problem> {
    Domain::parse(domain)
        .map_err(|e| Problem::bad_request(format!("{domain:?} is not a domain: {e}")))
}

fn detail<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Result<PolicyDetail, Problem> {
    let missing = || {
        Problem::not_found(format!(
            "no policy of {domain} is stored; `sealpost explain {domain}` says why"
        ))
    };
    let view = control.policies.show(domain).ok_or_else(missing)?;
    let policy = row(&view).ok_or_else(missing)?;
    let stored = view.policy.as_ref().ok_or_else(missing)?;
    Ok(PolicyDetail {
        policy,
        max_age: stored.lifetime().as_secs(),
        next_refresh: view.next_refresh.map(Timestamp::rfc3339),
        text: stored.policy.text().to_owned(),
    })
}

fn row(view: &policy_cache::PolicyView) -> Option<PolicyView> {
    let stored = view.policy.as_ref()?;
    Some(PolicyView {
        domain: view.domain.to_string(),
        mode: stored.mode().as_str().to_owned(),
        id: stored
            .id
            .as_ref()
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default(),
        mx: stored.policy.mx().iter().map(ToString::to_string).collect(),
        fetched: stored.fetched_at.rfc3339(),
        expires: stored.expires_at.rfc3339(),
        refresh_failure: view.last_failure.as_ref().map(ToString::to_string),
    })
}
