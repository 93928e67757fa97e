//! `/v1/policies/{domain}/pin` and `/exempt`: what the operator decides about one domain.
//!
//! Both need a reason, which the audit log keeps. A pin only adds; an exemption weakens, so it has
//! to be called dangerous and ends by itself. Both count from the next attempt on.

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::Json;
use mail_types::Timestamp;
use mta_sts::MxPattern;
use outbound_queue::QueueStore;
use serde::de::DeserializeOwned;

use crate::policies::{audit, parse, shown, with_waiting};
use crate::{Control, ExemptRequest, PinRequest, PolicyDetail, ProblemDetails};
use api_routes::Operator;
use api_routes::{Problem, quoted};

/// Pin: enforce with these patterns, whatever the domain publishes.
#[utoipa::path(post, path = "/v1/policies/{domain}/pin", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
), request_body = PinRequest, responses(
    (status = 200, description = "What counts now.", body = PolicyDetail),
    (status = 400, description = "Not a domain, or not a pin.", body = ProblemDetails),
    (status = 404, description = "There is no pin to remove.", body = ProblemDetails),
    (status = 409, description = "Refused.", body = ProblemDetails),
))]
pub(crate) async fn pin<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
    body: Bytes,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    let request: PinRequest = read(&body)?;
    let patterns = request.mx.as_deref().map(patterns).transpose()?;
    let action = match patterns {
        Some(_) => "policy pin",
        None => "policy pin --remove",
    };
    let order = control.order(&operator, Some(request.because.clone()));
    control.policies.pin(&domain, patterns, order).await?;
    audit(&control, &operator, action, &domain, Some(&request.because));
    let detail = shown(&control, &domain)?;
    Ok(Json(with_waiting(&control, detail).await))
}

/// Exempt a domain from its policy for a time: its mail is unprotected.
#[utoipa::path(post, path = "/v1/policies/{domain}/exempt", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
), request_body = ExemptRequest, responses(
    (status = 200, description = "What counts now.", body = PolicyDetail),
    (status = 400, description = "Not a domain, or not an exemption.", body = ProblemDetails),
    (status = 404, description = "There is no exemption to end.", body = ProblemDetails),
    (status = 409, description = "Not called dangerous, or for too long.", body = ProblemDetails),
))]
pub(crate) async fn exempt<S: QueueStore>(
    State(control): State<Control<S>>,
    Extension(operator): Extension<Operator>,
    Path(domain): Path<String>,
    body: Bytes,
) -> Result<Json<PolicyDetail>, Problem> {
    let domain = parse(&domain)?;
    let request: ExemptRequest = read(&body)?;
    let until = request.until.as_deref().map(time).transpose()?;
    if until.is_some() && !request.dangerous {
        return Err(Problem::refused(format!(
            "an exemption lets mail to {domain} go out unprotected; say --dangerous if you mean it"
        )));
    }
    let action = match until {
        Some(_) => "policy exempt",
        None => "policy exempt --remove",
    };
    let order = control.order(&operator, Some(request.because.clone()));
    let policies = &control.policies;
    policies.dangerous_exempt(&domain, until, order).await?;
    audit(&control, &operator, action, &domain, Some(&request.because));
    let detail = shown(&control, &domain)?;
    Ok(Json(with_waiting(&control, detail).await))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| Problem::bad_request(e.to_string()))
}

fn patterns(texts: &[String]) -> Result<Vec<MxPattern>, Problem> {
    let parse = |text: &String| {
        MxPattern::parse(text)
            .map_err(|e| Problem::bad_request(format!("{} is no MX pattern: {e}", quoted(text))))
    };
    texts.iter().map(parse).collect()
}

fn time(text: &str) -> Result<Timestamp, Problem> {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    time.and_then(|time| u64::try_from(time.as_second()).ok())
        .map(Timestamp::from_secs)
        .ok_or_else(|| Problem::bad_request(format!("{} is no RFC 3339 time", quoted(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(
            time("2026-03-01T00:00:00Z").unwrap(),
            Timestamp::from_secs(1_772_323_200)
        );
        for bad in ["", "tomorrow", "2026-03-01", "1969-01-01T00:00:00Z"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_have_no_unknown_fields() {
        let good = br#"{"mx":["*.d.test"],"because":"x"}"#;
        assert!(read::<PinRequest>(good).is_ok());
        let slip = br#"{"until":null,"becuase":"x"}"#;
        assert!(read::<ExemptRequest>(slip).is_err());
        assert!(patterns(&["*.*.d.test".to_owned()]).is_err());
    }
}
