//! Whose move it is, for one message and for many: the one place that decides.

use std::collections::HashMap;

use attempt::{Case, DemandedBy, Reason, Side};

use crate::{AttemptEntry, AttemptNote, Destination, HostNote, Keyed};

/// What says whose move it is: what failed, in which case, and who demands what was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blame {
    /// What failed.
    pub reason: Reason,
    /// In which case of it.
    pub case: Case,
    /// Who demands it.
    pub by: DemandedBy,
}

/// Whose move it is at destinations that are left alone: that of what began it, whatever befell a
/// message there before. For mail with the reason `destination-suspended`.
pub type SuspendedSides = HashMap<Destination, Side>;

/// Whose move it is as it is told now, of what waits for a reason: the one place that says so. What is held is
/// ours to release, whatever befell it before; for what was put off with its destination that of
/// what the suspension there began with; else what its last attempt says.
#[must_use]
pub fn side_as_told(
    reason: Option<&Keyed<Reason>>,
    held: bool,
    usual: Option<Side>,
    suspended: Option<Side>,
) -> Option<Side> {
    if held {
        return Some(Side::Us);
    }
    suspended
        .filter(|_| goes_by_suspension(reason, held))
        .or(usual)
}

/// Whether what suspended its destination says why mail waits, while that lasts.
#[must_use]
pub fn goes_by_suspension(reason: Option<&Keyed<Reason>>, held: bool) -> bool {
    !held && is_put_off(reason)
}

impl Blame {
    /// Whose move it is.
    #[must_use]
    pub const fn side(self) -> Side {
        self.reason.side_in(self.case, self.by)
    }

    /// For mail that waits for a reason, after its last attempt if that is known. `None` if the reason is
    /// not one of ours.
    pub(crate) fn of(reason: &Keyed<Reason>, last: Option<&AttemptEntry>) -> Option<Self> {
        let reason = reason.known()?;
        let found = last.and_then(|entry| entry.note.blame());
        Some(found.map_or_else(|| reason.into(), |(blame, _)| blame))
    }
}

impl From<Reason> for Blame {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            case: Case::Usual,
            by: DemandedBy::Recipient,
        }
    }
}

/// Whose move it is for mail that waits for a reason, after its last attempt if that is known.
pub(crate) fn side_of(reason: &Keyed<Reason>, last: Option<&AttemptEntry>) -> Option<Side> {
    Blame::of(reason, last).map(Blame::side)
}

impl AttemptNote {
    /// What says whose move it is, and the host that it is about if that is not the one that decided:
    /// where nobody has to act on the answer that decided, a host that somebody has to act on tells more.
    #[must_use]
    pub fn blame(&self) -> Option<(Blame, Option<&HostNote>)> {
        let decided = Blame {
            reason: self.reason.as_ref()?.known()?,
            case: self.case.or_usual(),
            by: self.by.or_usual(),
        };
        let of_host = |host: &HostNote| {
            let its = Blame {
                reason: host.reason.as_ref()?.known()?,
                case: host.case.or_usual(),
                by: decided.by,
            };
            its.reason.is_more_serious(its.case, its.by).then_some(its)
        };
        if decided.side() == Side::Wait {
            let mut hosts = self.tried.iter();
            let serious = hosts.find_map(|host| Some((of_host(host)?, Some(host))));
            return Some(serious.unwrap_or((decided, None)));
        }
        Some((decided, None))
    }
}

/// Whose last attempt is looked for.
pub(crate) struct LastOf<'a> {
    /// By index in the envelope's recipients.
    pub(crate) number: u32,
    /// The message has no other recipient.
    pub(crate) alone: bool,
    pub(crate) destination: &'a Destination,
    pub(crate) pending: bool,
    pub(crate) reason: Option<&'a Keyed<Reason>>,
    /// That an operator returned it counts: it is how it ended. It is no attempt, and whoever is told of the
    /// return wants to know what was found before.
    pub(crate) or_return: bool,
}

impl LastOf<'_> {
    /// The last attempt, if it is known which that was.
    pub(crate) fn find<'e>(&self, attempts: &'e [AttemptEntry]) -> Option<&'e AttemptEntry> {
        let counts =
            |entry: &&AttemptEntry| self.or_return || entry.note.case != Case::ByOperator.into();
        attempts
            .iter()
            .filter(counts)
            .rfind(|entry| match &entry.recipients {
                Some(those) => those.binary_search(&self.number).is_ok(),
                None if entry.destination != *self.destination => false,
                None if self.alone => true,
                None => {
                    let is_its = self.reason.is_some() && self.reason == entry.note.reason.as_ref();
                    let is_its = is_its || is_put_off(self.reason) && is_alike(attempts, entry);
                    self.pending && is_its
                }
            })
    }
}

/// Whether all that is remembered of attempts at a destination is one and the same. Then who was put off with it, and so
/// has not been tried again, had that, too.
fn is_alike(attempts: &[AttemptEntry], entry: &AttemptEntry) -> bool {
    let mut there = attempts
        .iter()
        .filter(|e| e.destination == entry.destination);
    there.all(|e| e.note.reason == entry.note.reason)
}

/// Whether this is the reason of what waits with its destination.
fn is_put_off(reason: Option<&Keyed<Reason>>) -> bool {
    reason.and_then(Keyed::known) == Some(Reason::DestinationSuspended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_somebody_has_to_act_on_tells_more_than_what_passes() {
        let mut note = AttemptNote {
            reason: Some(Reason::Remote4xx.into()),
            by: DemandedBy::Rule.into(),
            ..AttemptNote::default()
        };
        let side = |note: &AttemptNote| note.blame().map(|(blame, _)| blame.side());
        assert_eq!(side(&note), Some(Side::Wait));
        note.tried = [Reason::Connect, Reason::CertExpired]
            .map(|reason| HostNote {
                reason: Some(reason.into()),
                ..HostNote::default()
            })
            .into();
        assert_eq!(side(&note), Some(Side::Us), "our rule demands it");
        note.by = Keyed::default();
        assert_eq!(side(&note), Some(Side::RecipientAdmin));
        note.reason = Some(Reason::Local.into());
        assert_eq!(
            side(&note),
            Some(Side::Us),
            "what decided has somebody to act"
        );
        note.reason = Some(Keyed::from_key("of-a-newer-version"));
        assert_eq!(side(&note), None);
    }
}
