//! The demands on a delivery in one line, as notes of attempts have them: written and read here.

use std::fmt;

use attempt::{PolicyResult, PolicySource, PolicyUse, Reason};

/// The demands on a delivery and how they fared, for instance
/// `mta-sts enforce id 1 failed: cert-expired; local verified failed: cert-expired`.
///
/// A line for people, that the disk has as it is; what a newer version wrote stays in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demands(Box<str>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// Who demands.
    pub source: PolicySource,
    /// What is demanded.
    pub mode: &'a str,
    /// The policy's id, if it has one.
    pub id: Option<&'a str>,
    /// What came of it.
    pub result: PolicyResult,
    /// Why it failed.
    pub reason: Option<Reason>,
}

impl Demands {
    /// `None` if there are none.
    #[must_use]
    pub fn of(policies: &[PolicyUse]) -> Option<Self> {
        let demands = policies.iter().map(|policy| Demand {
            source: policy.source,
            mode: &policy.mode,
            id: policy.id.as_deref(),
            result: policy.result,
            reason: policy.reason,
        });
        let parts: Vec<String> = demands.map(|demand| demand.to_string()).collect();
        (!parts.is_empty()).then(|| Self(parts.join(BETWEEN).into()))
    }

    /// From the line.
    #[must_use]
    pub fn from_line(line: &str) -> Self {
        Self(line.into())
    }

    /// As a line.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// Those that this version knows.
    pub fn iter(&self) -> impl Iterator<Item = Demand<'_>> {
        self.0.split(BETWEEN).filter_map(Demand::read)
    }
}

impl<'a> Demand<'a> {
    /// Reads what [`Display`](fmt::Display) writes.
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let source = PolicySource::from_key(words.next()?)?;
        let mode = words.next()?;
        let mut result = words.next()?;
        let mut id = None;
        if result == ID {
            id = words.next();
            result = words.next()?;
        }
        Some(Self {
            source,
            mode,
            id,
            result: PolicyResult::from_key(result.trim_end_matches(':'))?,
            reason: words.next().and_then(Reason::from_key),
        })
    }
}

impl fmt::Display for Demand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source.key(), self.mode)?;
        if let Some(id) = self.id {
            write!(f, " {ID} {id}")?;
        }
        write!(f, " {}", self.result.key())?;
        self.reason.map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

const BETWEEN: &str = "; ";
const ID: &str = "id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_read_back_as_they_were_written() {
        let of = |source, mode, id, result, reason| Demand {
            source,
            mode,
            id,
            result,
            reason,
        };
        let (expired, failed) = (Some(Reason::CertExpired), PolicyResult::Failed);
        let id = Some("20260101T");
        let all = [
            of(PolicySource::MtaSts, "enforce", id, failed, expired),
            of(
                PolicySource::Dane,
                "require",
                None,
                PolicyResult::Satisfied,
                None,
            ),
            of(
                PolicySource::RequireTls,
                "verified",
                None,
                PolicyResult::NotEvaluated,
                None,
            ),
        ];
        let lines = all.map(|demand| demand.to_string());
        assert_eq!(
            lines[0],
            "mta-sts enforce id 20260101T failed: cert-expired"
        );
        for n in 1..=all.len() {
            let demands = Demands::from_line(&lines[..n].join("; "));
            assert!(demands.iter().eq(all[..n].iter().copied()), "{demands:?}");
        }
    }

    #[test]
    fn what_a_newer_version_demanded_stays_in_the_line() {
        for other in [
            "",
            "mta-sts",
            "x enforce failed",
            "mta-sts enforce odd",
            "mta-sts enforce id",
        ] {
            let demands = Demands::from_line(other);
            assert_eq!((demands.iter().count(), demands.as_str()), (0, other));
        }
        let demands = Demands::from_line("x enforce failed; local verified failed: newer");
        let [known] = demands.iter().collect::<Vec<_>>()[..] else {
            panic!("{demands:?}");
        };
        assert_eq!((known.source, known.reason), (PolicySource::Local, None));
    }
}
