//! When mail that waits is given up.

use attempt::Reason;
use mail_types::Timestamp;

use crate::books::Entry;
use crate::decide::demand::Requirement;
use crate::decide::failure::Weight;
use crate::decide::verdict::Failure;
use crate::settings::Settings;

impl Settings {
    /// When mail that waits is given up if nothing changes, by what its hosts have met: at the end of its life, but where some
    /// do not fit it (an extension that none has, REQUIRETLS without verified TLS) once
    /// [`patience`](Self::patience) is over, as [`conclude`](crate::decide::conclusion::conclude) does (rows E5-11, D1-12,
    /// decision AMB-23).
    #[must_use]
    pub fn gives_up(
        &self,
        met: impl IntoIterator<Item = Reason>,
        requiretls: bool,
        arrived: Timestamp,
        expires: Timestamp,
    ) -> Timestamp {
        let mut met = met.into_iter();
        match met.any(|reason| is_misfit(reason, requiretls)) {
            true => expires.min(arrived + self.patience),
            false => expires,
        }
    }
}

/// Whether the hosts do not fit the mail, other than for a while.
const fn is_misfit(reason: Reason, requiretls: bool) -> bool {
    match Weight::of_refusal(reason) {
        Weight::Missing => true,
        Weight::Unfit => requiretls,
        Weight::Unreachable | Weight::Transient | Weight::Permanent => false,
    }
}

/// The same of an attempt's deferral: never before the `next` attempt, which carries it out.
pub(crate) fn of(
    settings: &Settings,
    entry: &Entry<'_>,
    failure: Option<&Failure>,
    next: Option<Timestamp>,
) -> Option<Timestamp> {
    let envelope = &entry.leased.envelope;
    // A notification goes without TLS in the end, see `Concession`.
    let requiretls =
        entry.requirement.is_some_and(Requirement::requiretls) && !envelope.reverse_path.is_null();
    let met = entry.found.failures.iter().map(|failure| failure.reason);
    let met = met.chain(failure.map(|failure| failure.reason));
    let (arrived, expires) = (envelope.arrival.at, entry.leased.expires);
    let end = settings.gives_up(met, requiretls, arrived, expires);
    next.map(|next| end.max(next))
}
