//! While our own name servers answer nobody, or DNSSEC is lost on our side, nothing is known of any
//! domain, and none of them is to blame: not the recipient's side, whose administrators would get letters, and not the destination,
//! which would be left alone for a while longer than the silence lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use attempt::Reason;
use mail_types::Resolver;

use crate::decide::verdict::{Failure, Verdict};
use crate::worker::findings::Findings;

/// Mail that was put down to us for a fault of our look-ups.
pub(crate) struct Missed {
    /// An earlier process may have left some.
    left: AtomicBool,
    /// There is some of this process.
    some: AtomicBool,
    /// When it was last made due; milliseconds of the monotonic clock, 0 for never.
    woken: AtomicU64,
}

impl Missed {
    /// Trust anchors and name servers are mended with a restart.
    pub(crate) fn at_start() -> Self {
        Self {
            left: AtomicBool::new(true),
            some: AtomicBool::new(false),
            woken: AtomicU64::new(0),
        }
    }

    /// [`blame`], remembered.
    pub(crate) fn blame(&self, found: &mut Findings, resolver: &dyn Resolver) {
        if blame(found, resolver) {
            self.again();
        }
    }

    /// Whether there is some to be made due, which is then taken for done. Servers that answer now and
    /// then: what they fail is not tried again at once each time. What an earlier process has left does not
    /// count for that: servers that fail soon after the start have answered before.
    pub(crate) fn take(&self, monotonic: Duration) -> bool {
        let millis = u64::try_from(monotonic.as_millis()).unwrap_or(u64::MAX);
        let woken = self.woken.load(Ordering::Relaxed);
        let is_early = woken != 0 && millis.saturating_sub(woken) < WOKEN_EVERY;
        let some = !is_early && self.some.swap(false, Ordering::Relaxed);
        if some {
            self.woken.store(millis.max(1), Ordering::Relaxed);
        }
        self.left.swap(false, Ordering::Relaxed) || some
    }

    /// There is some still, or again.
    pub(crate) fn again(&self) {
        self.some.store(true, Ordering::Relaxed);
    }
}

/// Milliseconds: about the first step of the retry table.
const WOKEN_EVERY: u64 = 5 * 60 * 1000;

/// Puts down to us what look-ups without an answer have put down to the domain.
/// Says whether it has.
fn blame(found: &mut Findings, resolver: &dyn Resolver) -> bool {
    // Addresses may be remembered where TLSA records have to be asked for.
    let is_by_dns = |reason| {
        matches!(
            reason,
            Reason::DnsTemporary | Reason::PolicyLookup | Reason::DaneLookup
        )
    };
    let verdicts = found.verdicts.iter().flatten();
    let mut reasons = verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Deferred(failure) => Some(failure.reason),
            Verdict::Sent { .. } | Verdict::Bounced(_) | Verdict::Parked(_) => None,
        })
        .chain(found.failures.iter().map(|failure| failure.reason));
    // A policy's host, too, may not be found for want of an answer: that is put down to us at once.
    if !reasons.any(|reason| is_by_dns(reason) || reason == Reason::Local) {
        return false;
    }
    let Some(fault) = resolver.fault() else {
        return false;
    };
    let ours = Arc::new(Failure::new(Reason::Local, fault));
    for verdict in found.verdicts.iter_mut().flatten() {
        if matches!(verdict, Verdict::Deferred(failure) if is_by_dns(failure.reason)) {
            *verdict = Verdict::Deferred(Arc::clone(&ours));
        }
    }
    for failure in &mut found.failures {
        if is_by_dns(failure.reason) {
            failure.reason = ours.reason;
            failure.status = ours.status;
            failure.detail.clone_from(&ours.detail);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_answer_now_and_then_wake_mail_once_in_a_while() {
        let missed = Missed::at_start();
        let at = Duration::from_secs;
        assert!(missed.take(at(2)), "what an earlier process has left");
        assert!(!missed.take(at(3)), "it was made due");
        missed.again();
        assert!(missed.take(at(20)), "that of the start does not count");
        missed.again();
        assert!(!missed.take(at(21)), "a little while ago");
        assert!(missed.take(at(320)), "and not forgotten");
    }
}
