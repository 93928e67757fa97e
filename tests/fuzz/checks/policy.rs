//! Any body is refused or printed so that it means the same; no host is listed by accident.

use mail_types::HostName;
use mta_sts::{HostVerdict, MAX_MAX_AGE, Mode, Policy};

pub(super) fn check(body: &[u8]) {
    let Ok(parsed) = Policy::parse(body) else {
        return;
    };
    let policy = parsed.policy;
    assert_eq!(policy.text().as_bytes(), body);
    assert!(policy.max_age() <= MAX_MAX_AGE);
    assert!(policy.mode() == Mode::None || !policy.mx().is_empty());
    let again = Policy::parse(policy.to_string().as_bytes());
    // Printing may make a text longer than the limit.
    if let Ok(again) = again {
        assert!(again.policy.same_meaning(&policy));
    }
    for pattern in policy.mx() {
        let covered = match pattern.as_str().strip_prefix('*') {
            Some(rest) => format!("x{rest}"),
            None => pattern.to_string(),
        };
        if let Ok(host) = HostName::parse(&covered)
            && host.as_str() == covered
        {
            assert!(
                matches!(policy.host(&host), HostVerdict::Listed { .. }),
                "{covered}"
            );
        }
    }
}
