//! `/v1/policies`: list, show, refresh, forget.

use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Json;
use mail_types::{Domain, Timestamp};
use outbound_queue::QueueStore;
use policy_cache::{Applied, NoPolicy, Outcome, Waiting};

use crate::paused;
use crate::{
    Audit, Control, ExemptionView, Page, PinView, PolicyDetail, PolicyView, ProblemDetails,
    TestingFailureView,
};
use api_routes::Operator;
use api_routes::{Problem, quoted};
use api_routes::{number, parameters, some};

/// Stored policies, pins and exemptions by domain.
#[utoipa::path(get, path = "/v1/policies", tag = "policies", params(
    ("contains" = Option<String>, Query, description = "Only domains with this in their name."),
    ("mode" = Option<String>, Query, description = "`enforce`, `testing` or `none`."),
    ("limit" = Option<u64>, Query, minimum = 1, description = "Rows of a page; all unless told."),
    ("cursor" = Option<String>, Query, description = "`next` of the page before."),
), responses(
    (status = 200, description = "A page.", body = Page<PolicyView>),
    (status = 400, description = "A parameter is wrong.", body = ProblemDetails),
))]
pub(crate) async fn list<S: QueueStore>(
    State(control): State<Control<S>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<PolicyView>>, Problem> {
    let wanted = Wanted::parse(query.as_deref().unwrap_or_default())?;
    let now = control.now().wall;
    let views = control.policies.list();
    let mut matching = views.iter().filter(|view| wanted.matches(view));
    let items: Vec<_> = matching
        .by_ref()
        .take(wanted.limit)
        .map(|view| row(view, now))
        .collect();
    let next = matching
        .next()
        .and_then(|_| items.last().map(|last| last.domain.clone()));
    Ok(Json(Page { items, next }))
}

/// One policy with its text.
#[utoipa::path(get, path = "/v1/policies/{domain}", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
), responses(
    (status = 200, description = "What is stored.", body = PolicyDetail),
    (status = 400, description = "That is no domain.", body = ProblemDetails),
    (status = 404, description = "Nothing is stored of it.", body = ProblemDetails),
))]
pub(crate) async fn show<S: QueueStore>(
    State(control): State<Control<S>>,
    Path(domain): Path<String>,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    detail(&control, &domain).map(Json)
}

/// Fetch a policy now.
#[utoipa::path(post, path = "/v1/policies/{domain}/refresh", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
), responses(
    (status = 200, description = "The policy as fetched.", body = PolicyDetail),
    (status = 400, description = "That is no domain.", body = ProblemDetails),
    (status = 404, description = "It has no policy.", body = ProblemDetails),
    (status = 503, description = "The fetch failed.", body = ProblemDetails),
))]
pub(crate) async fn refresh<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    let look = control.policies.refresh_now(&domain).await;
    audit(&control, &operator, "policy refresh", &domain, None);
    let stored = detail(&control, &domain).ok();
    let known = control.policies.show(&domain).and_then(|view| view.policy);
    let expires = known.map(|policy| policy.expires_at);
    let is_had = is_had(&look.discovery.outcome, look.confirmed);
    match stored.filter(|_| is_had && expires.is_some()) {
        Some(stored) => Ok(Json(with_waiting(&control, stored).await)),
        None => {
            let problem = not_fetched(&domain, &look.discovery.outcome, is_had);
            Err(still(problem, &domain, expires, control.now().wall))
        }
    }
}

/// Whether a look has ended with the policy that the domain publishes. One that is had although DNS
/// did not answer is not confirmed, but it has come from its host just now.
fn is_had(found: &Outcome, confirmed: bool) -> bool {
    match found {
        Outcome::Policy(applied) => confirmed || applied.fallback.is_none(),
        Outcome::NoPolicy(_) | Outcome::Wait { .. } => false,
    }
}

/// What a look has found instead of a policy that is now stored.
fn not_fetched(domain: &Domain, found: &Outcome, is_had: bool) -> Problem {
    match found {
        Outcome::Policy(Applied {
            fallback: Some(why),
            ..
        }) if !is_had => Problem::unavailable(why.to_string()),
        Outcome::Policy(_) => Problem::unavailable(format!(
            "the policy of {domain} was fetched, but it is not kept: either as many policies are stored as may be \
             (the log has policy.cache-full), or it was forgotten in the meantime"
        )),
        Outcome::NoPolicy(NoPolicy::Record(why)) => Problem::not_found(format!(
            "{domain} has no policy; looked up _mta-sts.{domain}: {why}"
        )),
        Outcome::NoPolicy(why @ (NoPolicy::Fetch { .. } | NoPolicy::Unknown { .. })) => {
            Problem::unavailable(why.to_string())
        }
        Outcome::Wait {
            why: Waiting::Dns { cause, .. },
            ..
        } => Problem::unavailable(format!(
            "whether {domain} has a policy could not be looked up: {cause}"
        )),
        Outcome::Wait {
            why: why @ (Waiting::FetchLimit | Waiting::Clock(_) | Waiting::Local(_)),
            ..
        } => Problem::unavailable(why.to_string()),
    }
}

/// And what that means for the policy that is stored: one that has run out stays on record for a while.
fn still(problem: Problem, domain: &Domain, expires: Option<Timestamp>, now: Timestamp) -> Problem {
    match expires {
        Some(at) if now < at => problem.also(&format!(
            "the stored policy of {domain} still counts until {}",
            at.rfc3339()
        )),
        Some(at) => problem.also(&format!(
            "the stored policy of {domain} counts no more since {}",
            at.rfc3339()
        )),
        None => problem,
    }
}

/// Forget a policy; `dangerous=true` forgets an unexpired enforce policy too.
#[utoipa::path(post, path = "/v1/policies/{domain}/forget", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
    ("dangerous" = Option<bool>, Query, description = "Even if it is in force: mail loses its protection."),
), responses(
    (status = 200, description = "What was forgotten.", body = PolicyDetail),
    (status = 400, description = "That is no domain.", body = ProblemDetails),
    (status = 404, description = "Nothing is stored of it.", body = ProblemDetails),
    (status = 409, description = "It is in force.", body = ProblemDetails),
))]
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
                "{} is not dangerous=true or dangerous=false",
                quoted(other)
            )));
        }
    };
    let before = detail(&control, &domain)?;
    let order = control.order(&operator, Some("policy forget".to_owned()));
    control.policies.forget(&domain, order, dangerous).await?;
    audit(&control, &operator, "policy forget", &domain, None);
    Ok(Json(before))
}

pub(crate) fn audit<S: QueueStore>(
    control: &Control<S>,
    operator: &Operator,
    action: &str,
    domain: &Domain,
    reason: Option<&str>,
) {
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: operator,
        action,
        target: domain.as_str(),
        matched: 1,
        reason,
        error: None,
    });
}

pub(crate) fn parse(domain: &str) -> Result<Domain, Problem> {
    Domain::parse(domain)
        .map_err(|e| Problem::bad_request(format!("{} is not a domain: {e}", quoted(domain))))
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
        testing_failure: view.testing.as_ref().map(|last| TestingFailureView {
            at: last.at.rfc3339(),
            mx: last.mx.to_string(),
            reason: last.reason.to_string(),
        }),
        text: stored.map(|p| p.policy.text().to_owned()),
        waiting: None,
        held: None,
        paused: false,
    })
}

/// And how many messages wait for the domain. They are not tried for that: what changes counts from their
/// next attempt on, nobody can tell which of them wait for it alone, and after an exemption they go out
/// unprotected. Whoever ordered it decides.
pub(crate) async fn with_waiting<S: QueueStore>(
    control: &Control<S>,
    detail: PolicyDetail,
) -> PolicyDetail {
    let domain = &detail.policy.domain;
    let counted = paused::waiting(control, domain.clone()).await;
    let paused = control.delivery.paused();
    PolicyDetail {
        // Held mail has no next attempt.
        waiting: counted.map(|(all, held)| all - held),
        held: counted.map(|(_, held)| held),
        paused: paused.keys().any(|host| host.to_string() == *domain),
        ..detail
    }
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

/// What of the list is asked for.
struct Wanted {
    contains: Option<String>,
    mode: Option<String>,
    limit: usize,
    after: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut out = Self {
            contains: None,
            mode: None,
            limit: usize::MAX,
            after: None,
        };
        for parameter in parameters(query) {
            let (name, value) = parameter?;
            match name {
                "contains" => out.contains = Some(value.to_ascii_lowercase()),
                "mode" if ["enforce", "testing", "none"].contains(&value.as_str()) => {
                    out.mode = Some(value);
                }
                "mode" => {
                    let detail = format!("{} is no mode: enforce, testing or none", quoted(&value));
                    return Err(Problem::parameter(name, detail));
                }
                "limit" => out.limit = some(name, number(name, &value)?)?,
                "cursor" => out.after = Some(value),
                _ => {}
            }
        }
        Ok(out)
    }

    fn matches(&self, view: &policy_cache::PolicyView) -> bool {
        let domain = view.domain.as_str();
        let mode = view.policy.as_ref().map(|p| p.mode().as_str());
        self.after.as_deref().is_none_or(|after| domain > after)
            && self
                .contains
                .as_deref()
                .is_none_or(|part| domain.contains(part))
            && self
                .mode
                .as_deref()
                .is_none_or(|wanted| mode == Some(wanted))
    }
}

/// Of the list.
pub(crate) const PARAMETERS: &[&str] = &["contains", "mode", "limit", "cursor"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mta_sts::{NoRecord, Policy};
    use policy_cache::{Fallback, Origin, RecordTrouble, StoredPolicy};

    use super::*;

    fn found(from: Origin, fallback: Option<Fallback>) -> Outcome {
        let text = b"version: STSv1\r\nmode: enforce\r\nmx: mx.d.test\r\nmax_age: 86400\r\n";
        let policy = StoredPolicy {
            domain: parse("d.test").unwrap(),
            policy: Policy::parse(text).unwrap().policy,
            id: None,
            fetched_at: Timestamp::from_secs(1000),
            expires_at: Timestamp::from_secs(87_400),
        };
        Outcome::Policy(Applied {
            policy: Arc::new(policy),
            from,
            fallback,
        })
    }

    fn gone() -> RecordTrouble {
        RecordTrouble::NoRecord(NoRecord::Absent)
    }

    #[test]
    fn a_policy_that_was_fetched_is_never_said_not_to_have_been() {
        let said = |outcome: &Outcome, confirmed| {
            let is_had = is_had(outcome, confirmed);
            let problem = not_fetched(&parse("d.test").unwrap(), outcome, is_had);
            (is_had, format!("{problem:?}"))
        };
        for confirmed in [true, false] {
            let (is_had, text) = said(&found(Origin::Live, None), confirmed);
            assert!(
                is_had && text.contains("was fetched") && text.contains("not kept"),
                "{text}"
            );
        }
        let record = || Fallback::Record(gone());
        let (is_had, text) = said(&found(Origin::Cache, Some(record())), false);
        assert!(
            !is_had && text.contains("there is no _mta-sts record"),
            "{text}"
        );
        // Fetched minutes ago.
        assert!(said(&found(Origin::Cache, Some(record())), true).0);
        // That there is none is confirmed too, but it is no policy, whatever is on record.
        let (is_had, text) = said(&Outcome::NoPolicy(NoPolicy::Record(gone())), true);
        assert!(!is_had && text.contains("d.test has no policy"), "{text}");
    }

    #[test]
    fn a_stored_policy_counts_until_it_runs_out() {
        let said = |expires: Option<u64>| {
            let expires = expires.map(Timestamp::from_secs);
            let problem = Problem::unavailable("no answer");
            let now = Timestamp::from_secs(1000);
            format!(
                "{:?}",
                still(problem, &parse("d.test").unwrap(), expires, now)
            )
        };
        assert!(said(Some(1001)).contains("still counts until 1970-01-01T00:16:41"));
        for expired in [1000, 1] {
            let text = said(Some(expired));
            assert!(
                !text.contains("still counts") && text.contains("counts no more"),
                "{text}"
            );
        }
        assert!(!said(None).contains("counts"));
    }
}
