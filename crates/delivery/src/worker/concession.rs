//! What is conceded, step by step, where a demand may be set aside that the hosts do not meet (pure).
//!
//! Two kinds of mail end like this, and neither goes with less than it has to:
//!
//! * `TLS-Required: No` (RFC 8689 section 4.2.2): the published policy is followed if a host meets
//!   it; else TLS with any certificate; else as if there were no policy (rows D2-06, D2-07).
//! * A notification about REQUIRETLS mail, or anything else from the null reverse-path that came
//!   with REQUIRETLS (RFC 8689 section 5, decision AMB-24): with REQUIRETLS; once that has failed
//!   for good, or no other attempt comes, without it over verified TLS; else over any TLS; else, if it can be redacted, in
//!   whatever way there is.

use std::time::Duration;

use attempt::Weakened;

use crate::decide::conclusion::{Conclusion, conclude};
use crate::decide::demand::{Inputs, RequiredTls, Requirement};
use crate::decide::failure::HostFailure;
use crate::decide::verdict::Verdict;
use crate::worker::findings::Findings;

/// Demands in the order in which they are tried.
pub(crate) struct Concession {
    kind: Kind,
    whole: Inputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TlsRequiredNo,
    Notification,
}

/// One of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All that is demanded.
    Strict,
    /// Set aside, but with a certificate that is valid for the host.
    Verified,
    /// Set aside, but not in plain text.
    Encrypted,
    /// Set aside.
    Whatever,
}

impl Concession {
    /// `None` for mail whose demands hold, which is nearly all.
    pub(crate) fn of(inputs: &Inputs, whole: &Requirement, null_sender: bool) -> Option<Self> {
        let kind = if whole.weakened_by == Some(Weakened::TlsRequiredNo) {
            Kind::TlsRequiredNo
        } else if inputs.requiretls && null_sender {
            Kind::Notification
        } else {
            return None;
        };
        let whole = inputs.clone();
        Some(Self { kind, whole })
    }

    /// The steps, the strictest first.
    pub(crate) const fn steps(&self) -> &'static [Step] {
        match self.kind {
            Kind::TlsRequiredNo => &[Step::Strict, Step::Encrypted, Step::Whatever],
            Kind::Notification => &[
                Step::Strict,
                Step::Verified,
                Step::Encrypted,
                Step::Whatever,
            ],
        }
    }

    /// What is demanded at a step.
    pub(crate) fn demands(&self, step: Step) -> Inputs {
        let mut inputs = self.whole.clone();
        let aside = step != Step::Strict;
        match self.kind {
            Kind::TlsRequiredNo => inputs.tls_required_no = aside,
            Kind::Notification => inputs.requiretls_set_aside = aside,
        }
        inputs.at_least = match step {
            Step::Strict | Step::Whatever => None,
            Step::Verified => Some(RequiredTls::Verified),
            Step::Encrypted => Some(RequiredTls::Encrypted),
        };
        inputs
    }

    /// Whether at this step the content is replaced by one that says less.
    pub(crate) fn redacts(&self, step: Step) -> bool {
        self.kind == Kind::Notification && step != Step::Strict
    }

    /// Whether what was found at a step is a reason to go on to the next: hosts were reached or
    /// judged, and do not meet it. A host that is down is waited for.
    /// A notification's `last` attempt has no patience left: it would be dropped, and nobody told.
    pub(crate) fn goes_on(&self, step: Step, found: &Findings, last: bool) -> bool {
        if found.alive || found.unknown || found.busy {
            return false;
        }
        let unfit = found.failures.iter().any(HostFailure::is_kept_out);
        match (self.kind, step) {
            (Kind::Notification, Step::Strict) => {
                let bounced = |v: &Option<Verdict>| matches!(v, Some(Verdict::Bounced(_)));
                let strict = Requirement::of(&self.demands(step));
                let over = || conclude(&found.failures, &strict, Duration::ZERO, Duration::ZERO);
                found.concluded
                    && (found.verdicts.iter().all(bounced)
                        || last && matches!(over(), Some(Conclusion::Bounce(_))))
            }
            (Kind::Notification | Kind::TlsRequiredNo, _) => unfit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::demand::Assurance;
    use crate::decide::failure::Weight;
    use crate::decide::verdict::Failure;
    use attempt::Reason;
    use mail_types::HostName;
    use std::sync::Arc;

    #[test]
    fn amb_24_a_notification_concedes_step_by_step() {
        let inputs = Inputs {
            requiretls: true,
            ..Inputs::default()
        };
        let whole = Requirement::of(&inputs);
        assert!(Concession::of(&inputs, &whole, false).is_none());
        let concession = Concession::of(&inputs, &whole, true).unwrap();
        let seen: Vec<_> = concession
            .steps()
            .iter()
            .map(|step| {
                let r = Requirement::of(&concession.demands(*step));
                (
                    r.assurance(&crate::decide::standing::Standing::NONE),
                    r.requiretls(),
                    concession.redacts(*step),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Assurance::Authenticated, true, false),
                (Assurance::Authenticated, false, true),
                (Assurance::DangerousEncrypted, false, true),
                (Assurance::DangerousOpportunistic, false, true),
            ]
        );
    }

    #[test]
    fn amb_24_the_last_attempt_waits_for_requiretls_no_more() {
        let inputs = Inputs {
            requiretls: true,
            ..Inputs::default()
        };
        let concession = Concession::of(&inputs, &Requirement::of(&inputs), true).unwrap();
        let waits = |weight, reason| {
            let mx = HostName::parse("mx1.d.test").unwrap();
            let failure = Arc::new(Failure::new(reason, String::new()));
            let mut found = Findings::uniform(1, &Verdict::Deferred(failure));
            found.concluded = true;
            found.failures.push(HostFailure {
                weight,
                ..HostFailure::unreachable(&mx, None, 25, reason, String::new())
            });
            found
        };
        let unfit = waits(Weight::Unfit, Reason::RequireTlsNoTls);
        assert!(!concession.goes_on(Step::Strict, &unfit, false));
        assert!(concession.goes_on(Step::Strict, &unfit, true));
        let down = waits(Weight::Unreachable, Reason::Connect);
        assert!(!concession.goes_on(Step::Strict, &down, true));
    }
}
