//! What the failures of all hosts together mean.

use std::time::Duration;

use crate::decide::demand::Requirement;
use crate::decide::failure::{HostFailure, Weight};

/// What the failures of all hosts amount to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Try again later; the index is that of the failure to report.
    Defer(usize),
    /// Give up; the index is that of the failure to report.
    Bounce(usize),
}

/// What the failures of all candidates amount to, for mail that arrived `age` ago. `None` if there
/// are none.
///
/// * A 5yz of every host to us as a whole is final, unless something is demanded (row E5-10).
/// * An extension that every host lacks is final; if some could not be reached, once the mail is
///   older than `patience` (rows E5-11, D1-12).
/// * REQUIRETLS that meets no verified TLS is final after the same time (decision AMB-23).
/// * Everything else waits.
#[must_use]
pub fn conclude(
    failures: &[HostFailure],
    requirement: &Requirement,
    age: Duration,
    patience: Duration,
) -> Option<Conclusion> {
    let telling = failures
        .iter()
        .enumerate()
        .max_by_key(|(n, f)| (!f.is_passed_over(), f.weight, *n))
        .map(|(n, _)| n)?;
    let all = |w: Weight| failures.iter().all(|f| f.weight == w);
    let any = |w: Weight| failures.iter().any(|f| f.weight == w);
    let out_of_patience = age >= patience;
    if any(Weight::Missing) {
        let definite = failures
            .iter()
            .all(|f| matches!(f.weight, Weight::Missing | Weight::Permanent));
        if all(Weight::Missing) || (definite && !requirement.is_demanding()) || out_of_patience {
            return Some(Conclusion::Bounce(telling));
        }
        return Some(Conclusion::Defer(telling));
    }
    if all(Weight::Permanent) && !requirement.is_demanding() {
        return Some(Conclusion::Bounce(telling));
    }
    let unfit = failures.iter().rposition(|f| f.weight == Weight::Unfit);
    if let Some(unfit) = unfit
        && requirement.requiretls()
        && out_of_patience
    {
        return Some(Conclusion::Bounce(unfit));
    }
    Some(Conclusion::Defer(telling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::demand::{Inputs, RequiredTls};
    use attempt::Reason;
    use mail_types::HostName;

    const ONE_DAY: Duration = Duration::from_secs(24 * 3600);

    fn conclude(list: &[HostFailure], r: &Requirement, age: Duration) -> Option<Conclusion> {
        super::conclude(list, r, age, ONE_DAY)
    }

    fn failure(weight: Weight, reason: Reason) -> HostFailure {
        let mx = HostName::parse("mx1.d.test").unwrap();
        HostFailure {
            weight,
            ..HostFailure::unreachable(&mx, None, 25, reason, String::new())
        }
    }

    fn none() -> Requirement {
        Requirement::of(&Inputs::default())
    }

    fn verified() -> Requirement {
        Requirement::of(&Inputs {
            delivery_tls: Some(RequiredTls::Verified),
            ..Inputs::default()
        })
    }

    #[test]
    fn e5_10_a_5yz_of_every_host_is_final_only_without_demands() {
        let all = [
            failure(Weight::Permanent, Reason::Remote5xx),
            failure(Weight::Permanent, Reason::Remote5xx),
        ];
        assert_eq!(
            conclude(&all, &none(), Duration::ZERO),
            Some(Conclusion::Bounce(1))
        );
        assert_eq!(
            conclude(&all, &verified(), ONE_DAY * 3),
            Some(Conclusion::Defer(1))
        );
        let some = [
            failure(Weight::Permanent, Reason::Remote5xx),
            failure(Weight::Unreachable, Reason::Connect),
        ];
        assert_eq!(
            conclude(&some, &none(), Duration::ZERO),
            Some(Conclusion::Defer(0))
        );
        assert_eq!(conclude(&[], &none(), Duration::ZERO), None);
    }

    #[test]
    fn f3_01_what_the_hosts_met_that_were_tried_is_told_not_that_another_is_left_out() {
        let down = failure(Weight::Unreachable, Reason::Connect);
        let expired = failure(Weight::Unfit, Reason::CertExpired);
        let left_out = failure(Weight::Unfit, Reason::MxNotInPolicy);
        for first in [down, expired] {
            assert_eq!(
                conclude(&[first, left_out.clone()], &none(), Duration::ZERO),
                Some(Conclusion::Defer(0))
            );
        }
        assert_eq!(
            conclude(&[left_out.clone(), left_out], &none(), Duration::ZERO),
            Some(Conclusion::Defer(1))
        );
    }

    #[test]
    fn e5_11_an_extension_that_every_host_lacks_is_final() {
        let missing = failure(Weight::Missing, Reason::ExtensionMissing);
        let down = failure(Weight::Unreachable, Reason::Connect);
        let both = [missing.clone(), down];
        assert_eq!(
            conclude(&[missing], &none(), Duration::ZERO),
            Some(Conclusion::Bounce(0))
        );
        assert_eq!(
            conclude(&both, &none(), Duration::ZERO),
            Some(Conclusion::Defer(0))
        );
        assert_eq!(
            conclude(&both, &none(), ONE_DAY),
            Some(Conclusion::Bounce(0))
        );
    }

    #[test]
    fn what_a_reached_host_showed_is_reported_before_that_another_was_down() {
        let list = [
            failure(Weight::Unfit, Reason::CertExpired),
            failure(Weight::Unreachable, Reason::Connect),
        ];
        assert_eq!(
            conclude(&list, &verified(), Duration::ZERO),
            Some(Conclusion::Defer(0))
        );
        let list = [
            failure(Weight::Unfit, Reason::CertExpired),
            failure(Weight::Unfit, Reason::StarttlsNotOffered),
        ];
        assert_eq!(
            conclude(&list, &verified(), Duration::ZERO),
            Some(Conclusion::Defer(1))
        );
    }

    #[test]
    fn amb_23_requiretls_waits_a_day_for_tls() {
        let r = Requirement::of(&Inputs {
            requiretls: true,
            ..Inputs::default()
        });
        let list = [failure(Weight::Unfit, Reason::CertExpired)];
        assert_eq!(
            conclude(&list, &r, Duration::ZERO),
            Some(Conclusion::Defer(0))
        );
        assert_eq!(conclude(&list, &r, ONE_DAY), Some(Conclusion::Bounce(0)));
    }
}
