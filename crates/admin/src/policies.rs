//! `/v1/policies`: list, show, refresh, forget.

use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Json;
use mail_types::{Domain, Timestamp};
use outbound_queue::QueueStore;
use policy_cache::Outcome;

use crate::control::Operator;
use crate::problem::Problem;
use crate::{Audit, Control, ExemptionView, Page, PinView, PolicyDetail, PolicyView};

pub(crate) async fn list<S: QueueStore>(
    State(control): State<Control<S>>,
) -> Json<Page<PolicyView>> {
    let now = control.now().wall;
    let views = control.policies.list();
    let items = views.iter().map(|view| row(view, now)).collect();
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
    let look = control.policies.refresh_now(&domain).await;
    audit(&control, operator, "policy refresh", &domain, None);
    let stored = detail(&control, &domain)?;
    if look.confirmed {
        return Ok(Json(stored));
    }
    let why = match &look.discovery.outcome {
        Outcome::Policy(applied) => applied.fallback.as_ref().map(ToString::to_string),
        Outcome::NoPolicy(why) => Some(why.to_string()),
        Outcome::Wait { cause, .. } => Some(cause.to_string()),
    };
    Err(Problem::unavailable(format!(
        "{}; the stored policy of {domain} still counts until {}",
        why.unwrap_or_else(|| "the policy could not be fetched".to_owned()),
        stored.policy.expires.unwrap_or_default()
    )))
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
    audit(&control, operator, "policy forget", &domain, None);
    Ok(Json(before))
}

pub(crate) fn audit<S: QueueStore>(
    control: &Control<S>,
    operator: Operator,
    action: &str,
    domain: &Domain,
    reason: Option<&str>,
) {
    control.daemon.audit(&Audit {
        at: control.now().wall,
        uid: operator.0,
        action,
        target: domain.as_str(),
        matched: 1,
        reason,
    });
}

pub(crate) fn parse(domain: &str) -> Result<Domain, Problem> {
    Domain::parse(domain)
        .map_err(|e| Problem::bad_request(format!("{domain:?} is not a domain: {e}")))
}

fn detail<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Result<PolicyDetail, Problem> {
    let shown = shown(control, domain)?;
    let policy = &shown.policy;
    if policy.mode.is_some() || policy.pin.is_some() || policy.exemption.is_some() {
        return Ok(shown);
    }
    Err(missing(domain))
}

/// What is known of a domain, even if that is only that nothing is left.
pub(crate) fn shown<S: QueueStore>(
    control: &Control<S>,
    domain: &Domain,
) -> Result<PolicyDetail, Problem> {
    let view = control.policies.show(domain);
    let view = view.ok_or_else(|| missing(domain))?;
    let stored = view.policy.as_ref();
    Ok(PolicyDetail {
        policy: row(&view, control.now().wall),
        max_age: stored.map(|p| p.lifetime().as_secs()),
        next_refresh: view.next_refresh.map(Timestamp::rfc3339),
        text: stored.map(|p| p.policy.text().to_owned()),
    })
}

fn missing(domain: &Domain) -> Problem {
    Problem::not_found(format!(
        "no policy of {domain} is stored; `sealpost explain {domain}` says why"
    ))
}

fn row(view: &policy_cache::PolicyView, now: Timestamp) -> PolicyView {
    let stored = view.policy.as_ref();
    let patterns = |mx: &[mta_sts::MxPattern]| mx.iter().map(ToString::to_string).collect();
    let local = view.local.as_ref();
    let pin = local.and_then(|local| local.pin.as_ref());
    let exemption = local.and_then(|local| local.exemption.as_ref());
    PolicyView {
        domain: view.domain.to_string(),
        mode: stored.map(|p| p.mode().as_str().to_owned()),
        id: stored
            .and_then(|p| p.id.as_ref())
            .map(|id| id.as_str().to_owned()),
        mx: stored.map_or_else(Vec::new, |p| patterns(p.policy.mx())),
        fetched: stored.map(|p| p.fetched_at.rfc3339()),
        expires: stored.map(|p| p.expires_at.rfc3339()),
        refresh_failure: view.last_failure.as_ref().map(ToString::to_string),
        pin: pin.map(|pin| PinView {
            mx: patterns(&pin.mx),
            by: pin.order.by.clone(),
            because: pin.order.reason.clone(),
            at: pin.order.at.rfc3339(),
        }),
        exemption: exemption.map(|e| ExemptionView {
            until: e.until.rfc3339(),
            active: e.is_active(now),
            by: e.order.by.clone(),
            because: e.order.reason.clone(),
            at: e.order.at.rfc3339(),
        }),
    }
}
