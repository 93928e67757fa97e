//! A policy host's addresses, tried one beside the other until one answers.
//!
//! The HTTP client itself goes on to another address only while TCP fails. A host with one sick address
//! would keep its policy from us by that, and first mail would go out in clear text. So each address has a
//! client of its own: the next one begins when one has failed, or has been at TCP and TLS for
//! [`Pace::stagger`]. Only one at a time sends its request, and the next one only if that one failed before
//! an answer began, or has taken its time. At most [`CONNECTIONS`] are under way at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connect::Progress;
use crate::fetch::{FetchError, PkixError, Stage};

/// What has become of each address of one fetch.
pub(super) struct Tries {
    all: Mutex<Vec<Try>>,
    /// Held by whoever sends the request.
    turn: Arc<Semaphore>,
    /// Bytes of the body that have come.
    pub(super) bytes: AtomicUsize,
}

struct Try {
    address: IpAddr,
    progress: Arc<Progress>,
    failed: Option<FetchError>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Tries {
    /// Begins with an address, which has so long for TCP and TLS, and so long for the start of an answer
    /// before others are asked beside it.
    pub(super) fn begin(
        &self,
        address: IpAddr,
        limit: Duration,
        patience: Duration,
    ) -> Arc<Progress> {
        let progress = Arc::new(Progress::new(limit, patience, Arc::clone(&self.turn)));
        self.all.lock().push(Try {
            address,
            progress: Arc::clone(&progress),
            failed: None,
        });
        progress
    }

    pub(super) fn fail(&self, address: IpAddr, cause: FetchError) {
        let mut all = self.all.lock();
        if let Some(one) = all.iter_mut().find(|t| t.address == address) {
            one.failed = Some(cause);
            // The turn is the next one's, though others may know of this one for a while.
            one.progress.end_turn();
        }
    }

    /// Whether TCP and TLS are there for none, so that another address may be of help.
    pub(super) fn nobody_asks(&self) -> bool {
        self.turn.available_permits() > 0
    }

    /// Why there is no policy, when all have failed or the whole time is over.
    pub(super) fn verdict(&self) -> FetchError {
        let all = self.all.lock();
        let bytes = self.bytes.load(Ordering::Relaxed);
        let said = all.iter().map(|t| {
            let stage = t.progress.stage();
            let late = || FetchError::Timeout { stage, bytes };
            (t.address, t.failed.clone().unwrap_or_else(late))
        });
        let said: Vec<_> = said.collect();
        drop(all);
        let answering = said.iter().position(|(_, cause)| {
            matches!(
                cause,
                FetchError::Timeout {
                    stage: Stage::Body,
                    ..
                }
            )
        });
        let Some((_, first)) = said.get(answering.unwrap_or(0)) else {
            let stage = Stage::Dns;
            return FetchError::Timeout { stage, bytes };
        };
        if answering.is_some() || said.iter().all(|(_, cause)| cause == first) {
            return first.clone();
        }
        let main = said.iter().map(|(_, cause)| cause).min_by_key(|c| rank(c));
        FetchError::Addresses {
            main: Box::new(main.unwrap_or(first).clone()),
            said: told(&said),
        }
    }
}

/// Which of several causes counts: what is ours, since then nothing is known; else what came furthest.
const fn rank(cause: &FetchError) -> u8 {
    match cause {
        FetchError::Local(_) => 0,
        // These may be the fault of a clock.
        FetchError::Certificate(PkixError::Expired { .. } | PkixError::NotYetValid { .. }) => 1,
        FetchError::Certificate(_) => 2,
        FetchError::TlsVersion(_) => 3,
        FetchError::Tls(_) => 4,
        FetchError::Timeout { .. } => 6,
        FetchError::Connect(_) => 7,
        _ => 5,
    }
}

fn told(said: &[(IpAddr, FetchError)]) -> String {
    let shown = said.iter().take(SHOWN).map(|(address, cause)| {
        let cause: String = cause.to_string().chars().take(WORDS).collect();
        format!("{address}: {cause}")
    });
    let mut told = shown.collect::<Vec<_>>().join("; ");
    if said.len() > SHOWN {
        told += &format!("; and {} more", said.len() - SHOWN);
    }
    told
}

/// In the order of DNS, but the families by turns (RFC 8305 section 4): one of them may be dead.
pub(super) fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (ours, others): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .into_iter()
        .partition(|a| a.is_ipv6() == first_is_v6);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [ours.next(), others.next()];
        if pair == [None, None] || mixed.len() >= MAX_ADDRESSES {
            mixed.truncate(MAX_ADDRESSES);
            return mixed;
        }
        for address in pair.into_iter().flatten() {
            if !mixed.contains(&address) {
                mixed.push(address);
            }
        }
    }
}

/// How long one address waits for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long TCP and TLS may take before the next address begins beside them.
    pub(super) stagger: Duration,
    /// How long an address keeps its turn, or its place where more addresses wait than there are places.
    pub(super) patience: Duration,
}

impl Pace {
    /// How long an address may be at TCP and TLS, if so many others have not begun yet. A host may be slow:
    /// only the place that somebody else needs is taken from it before half of the whole time is over.
    pub(super) fn limit(self, within: Duration, waiting: usize) -> Duration {
        match waiting {
            0..CONNECTIONS => within / 2,
            _ => self.patience.min(within / 2),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            stagger: Duration::from_secs(1),
            patience: Duration::from_secs(10),
        }
    }
}

/// Who is under way, and who wants to be.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    unbegun: AtomicUsize,
}

impl Places {
    /// One begins, and so many have not begun yet.
    pub(super) fn take(&self, unbegun: usize) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.unbegun.store(unbegun, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether somebody cannot begin before one of those that are under way ends.
    pub(super) fn are_wanted(&self) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        self.unbegun.load(Ordering::Relaxed) > 0 && taken >= CONNECTIONS
    }
}

/// Connections of one fetch at the same time at most: what a domain writes into DNS must not take the
/// descriptors that others need.
pub const CONNECTIONS: usize = 4;
/// A host that names more of them is no better reached, and others could be made a target by them.
const MAX_ADDRESSES: usize = 16;
const SHOWN: usize = 4;
const WORDS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a4_23_a_place_is_wanted_only_if_all_are_taken_and_somebody_has_none() {
        let places = Places::default();
        let wanted: Vec<bool> = (2..=6)
            .rev()
            .map(|unbegun| {
                places.take(unbegun);
                places.are_wanted()
            })
            .collect();
        assert_eq!(wanted, [false, false, false, true, true]);
        places.leave();
        places.leave();
        assert!(!places.are_wanted(), "three are under way");
        places.take(0);
        assert!(!places.are_wanted(), "all have begun");
    }

    #[test]
    fn a4_23_the_families_take_turns() {
        let found = ["::1", "::2", "::2", "::3", "192.0.2.1"].map(ip);
        let mixed = ["::1", "192.0.2.1", "::2", "::3"].map(ip);
        assert_eq!(by_turns(found.to_vec()), mixed);
        let many = (0..=255).map(|n| IpAddr::from([192, 0, 2, n]));
        assert_eq!(by_turns(many.collect()).len(), MAX_ADDRESSES);
    }

    #[test]
    fn a4_12_a_slow_host_has_half_of_the_time_unless_others_need_its_place() {
        let (pace, within) = (Pace::default(), Duration::from_mins(1));
        for waiting in 0..CONNECTIONS {
            assert_eq!(pace.limit(within, waiting), within / 2, "{waiting}");
        }
        assert_eq!(pace.limit(within, CONNECTIONS), pace.patience);
        // Every round comes about: the last one with half of the time.
        let rounds = u32::try_from((MAX_ADDRESSES / CONNECTIONS) - 1).unwrap();
        assert!(pace.patience * rounds + within / 2 <= within);
    }

    #[test]
    fn a4_23_what_is_ours_counts_and_then_what_came_furthest() {
        let tries = Tries::default();
        let late = FetchError::Timeout {
            stage: Stage::Dns,
            bytes: 0,
        };
        assert_eq!(tries.verdict(), late, "no address is known yet");
        for n in 1..=6 {
            tries.begin(IpAddr::from([192, 0, 2, n]), Duration::ZERO, Duration::ZERO);
        }
        let stage = Stage::Connect;
        assert_eq!(
            tries.verdict(),
            FetchError::Timeout { stage, bytes: 0 },
            "all the same"
        );
        tries.fail(ip("192.0.2.2"), FetchError::Tls("x".repeat(1000)));
        assert_eq!(tries.verdict().key(), "tls");
        tries.fail(ip("192.0.2.3"), FetchError::Certificate(PkixError::Revoked));
        assert_eq!(tries.verdict().key(), "webpki:revoked");
        assert!(!tries.verdict().is_ours());
        tries.fail(ip("192.0.2.6"), FetchError::Local("EMFILE".into()));
        assert!(tries.verdict().is_ours(), "nothing is known then");
        let text = tries.verdict().to_string();
        for part in [
            "192.0.2.1: timeout",
            "; 192.0.2.3: the certificate",
            "; and 2 more",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.len() < 5 * WORDS, "{text}");
    }
}
