//! Fetches of policies that failed, as reports tell of them (RFC 8460 section 4.3.2.2).

use std::borrow::Cow;

use mail_types::DnsError;
use mta_sts::{Mode, PolicyError};
use policy_cache::{EventKind, FetchError, PkixError, PolicyEvent, Stage, Untrusted};
use tls_rpt::{Failure, Finding, Policy, ResultType};

/// What a report says of this event: one finding for each fetch that failed, however much mail waited for it.
/// `None` for what else happens to policies, for causes on our side, and while the policy in hand is of mode none
/// (decision AMB-20). `look_ups_fail`: whatever is looked up ([`mail_types::Resolver::fault`]); a policy host that was not
/// found then is not the domain's fault.
#[must_use]
pub(crate) fn failed_fetch(
    event: &PolicyEvent,
    look_ups_fail: impl FnOnce() -> bool,
) -> Option<Finding<'_>> {
    let (EventKind::FetchFailed { cause, .. } | EventKind::RefreshFailed { cause, .. }) =
        &event.kind
    else {
        return None;
    };
    let cause = cause.main();
    let is_ours = cause.is_ours()
        || matches!(
            cause,
            FetchError::RateLimited { .. }
                | FetchError::ClockDoubted(_)
                | FetchError::Dns(DnsError::Local(_))
        );
    let is_without_answer = matches!(
        cause,
        FetchError::Dns(DnsError::Temporary(_))
            | FetchError::Timeout {
                stage: Stage::Dns,
                ..
            }
    );
    let is_ours = is_ours || (is_without_answer && look_ups_fail());
    if is_ours || event.mode == Some(Mode::None) {
        return None;
    }
    Some(Finding {
        at: event.at,
        domain: event.domain.as_ref()?.as_str(),
        // Of a policy that could not be had nothing is known, whatever an older one said.
        policy: Policy::Sts(""),
        failure: Some(Failure {
            result: ResultType::from_key(cause.result_type().as_str())?,
            sending_ip: None,
            mx: None,
            helo: None,
            receiving_ip: None,
            reason: Some(reason(cause)),
        }),
    })
}

/// The `failure-reason-code`.
fn reason(cause: &FetchError) -> Cow<'static, str> {
    let word = match cause {
        FetchError::Status { status, .. } => return format!("http-{status}").into(),
        FetchError::Dns(error) => of_dns(error),
        FetchError::Certificate(fault) | FetchError::ClockDoubted(fault) => of_certificate(fault),
        FetchError::Policy(error) => of_policy(error),
        FetchError::NameTooLong => "dns-name-too-long",
        FetchError::RefusedAddress { .. } => "special-use-address",
        FetchError::Connect(_) => "connect",
        FetchError::Tls(_) => "tls-handshake",
        FetchError::TlsVersion(_) => "protocol-version",
        FetchError::Timeout { .. } => "timeout",
        FetchError::MediaType(_) => "media-type",
        FetchError::ContentEncoding(_) => "content-encoding",
        FetchError::Oversize => "oversize",
        FetchError::BodyIncomplete { .. } => "body-incomplete",
        FetchError::BadHttp(_) => "bad-http",
        FetchError::Addresses { .. } | FetchError::RateLimited { .. } | FetchError::Local(_) => {
            "other"
        }
    };
    word.into()
}

const fn of_dns(error: &DnsError) -> &'static str {
    match error {
        DnsError::NoSuchName { .. } => "dns-nxdomain",
        DnsError::NoRecords { .. } => "dns-no-address",
        DnsError::Temporary(_) | DnsError::Local(_) => "dns-failure",
        DnsError::Bogus(_) => "dns-bogus",
    }
}

const fn of_certificate(fault: &PkixError) -> &'static str {
    match fault {
        PkixError::Expired { .. } => "expired",
        PkixError::NotYetValid { .. } => "not-valid-yet",
        PkixError::Name { .. } => "name-mismatch",
        PkixError::UnknownIssuer(Untrusted::SelfSigned) => "self-signed",
        PkixError::UnknownIssuer(Untrusted::MissingIntermediate { .. }) => "missing-intermediate",
        PkixError::UnknownIssuer(Untrusted::UnknownIssuer { .. }) => "unknown-issuer",
        PkixError::Revoked => "revoked",
        PkixError::Other(_) => "certificate",
    }
}

/// The field, where one is wrong.
const fn of_policy(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::TooLarge => "oversize",
        PolicyError::Version(_) => "version",
        PolicyError::Mode(_) => "mode",
        PolicyError::MaxAge(_) => "max_age",
        PolicyError::Mx(..) => "mx",
        PolicyError::Missing(field) => field,
        PolicyError::NotUtf8
        | PolicyError::Nul(_)
        | PolicyError::BareCr(_)
        | PolicyError::ByteOrderMark
        | PolicyError::Line(_) => "syntax",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use mail_types::{Domain, Timestamp};

    fn event(cause: FetchError, mode: Option<Mode>) -> PolicyEvent {
        PolicyEvent {
            at: Timestamp::from_secs(1),
            domain: Domain::parse("d.test").ok(),
            id: None,
            mode,
            expires_at: None,
            kind: EventKind::FetchFailed {
                cause,
                kept: false,
                back_off: Duration::from_secs(300),
            },
        }
    }

    fn told(cause: FetchError) -> Option<(&'static str, String)> {
        let event = event(cause, None);
        let finding = failed_fetch(&event, || false)?;
        let failure = finding.failure.unwrap();
        assert_eq!((failure.mx, failure.receiving_ip), (None, None), "b3_14");
        Some((failure.result.key(), failure.reason.unwrap().into_owned()))
    }

    #[test]
    fn b2_12_b2_13_b2_14_b3_14_each_cause_has_its_type_and_code() {
        let status = FetchError::Status {
            status: 404,
            location: None,
        };
        let late = FetchError::Timeout {
            stage: Stage::Headers,
            bytes: 0,
        };
        let expired = FetchError::Certificate(PkixError::Expired {
            not_after: Timestamp::from_secs(0),
            now: Timestamp::from_secs(1),
        });
        let several = FetchError::Addresses {
            main: Box::new(FetchError::Certificate(PkixError::Revoked)),
            said: String::new(),
        };
        for (cause, result, code) in [
            (status, "sts-policy-fetch-error", "http-404"),
            (late, "sts-policy-fetch-error", "timeout"),
            (
                FetchError::MediaType(None),
                "sts-policy-fetch-error",
                "media-type",
            ),
            (FetchError::Oversize, "sts-policy-invalid", "oversize"),
            (
                FetchError::Policy(PolicyError::Missing("max_age")),
                "sts-policy-invalid",
                "max_age",
            ),
            (expired, "sts-webpki-invalid", "expired"),
            (several, "sts-webpki-invalid", "revoked"),
        ] {
            assert_eq!(told(cause), Some((result, code.to_owned())));
        }
    }

    #[test]
    fn b2_12_what_is_ours_is_no_matter_of_reports() {
        let expired = PkixError::Expired {
            not_after: Timestamp::from_secs(0),
            now: Timestamp::from_secs(1),
        };
        for cause in [
            FetchError::Local("no descriptor".into()),
            FetchError::RateLimited { after: None },
            FetchError::ClockDoubted(expired),
            FetchError::Dns(DnsError::Local("no port".into())),
            FetchError::Timeout {
                stage: Stage::Queue,
                bytes: 0,
            },
        ] {
            assert_eq!(told(cause.clone()), None, "{cause}");
        }
    }

    #[test]
    fn b2_12_silence_of_our_name_servers_is_no_matter_of_reports() {
        let silent = FetchError::Dns(DnsError::Temporary("no answer".into()));
        let late = FetchError::Timeout {
            stage: Stage::Dns,
            bytes: 0,
        };
        for cause in [silent, late] {
            let event = event(cause, None);
            assert!(failed_fetch(&event, || true).is_none(), "{event:?}");
            assert!(failed_fetch(&event, || false).is_some(), "{event:?}");
        }
        let answered = event(
            FetchError::Status {
                status: 404,
                location: None,
            },
            None,
        );
        assert!(failed_fetch(&answered, || true).is_some());
    }

    #[test]
    fn b2_21_a_known_policy_of_mode_none_is_not_told_of() {
        let cause = || FetchError::Connect("refused".into());
        assert!(failed_fetch(&event(cause(), Some(Mode::None)), || false).is_none());
        assert!(failed_fetch(&event(cause(), Some(Mode::Testing)), || true).is_some());
        let other = PolicyEvent {
            kind: EventKind::Refreshed,
            ..event(cause(), None)
        };
        assert!(failed_fetch(&other, || false).is_none());
    }
}
