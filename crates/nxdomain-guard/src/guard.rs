//! Doubts a resolver that says of domains that they do not exist, though they should (row H1-30).
//!
//! A captive portal, a hijacked or a broken resolver may answer NXDOMAIN to everything, or NOERROR without any
//! records. Believed, that would return all mail within minutes. Mail waits instead where
//! - the domain was there lately: its end is believed when it is seen again four hours later;
//! - its top-level domain does not exist either, and nothing else was found lately, as just after a start: its end is
//!   believed as soon as something is found, or after four hours;
//! - nearly all that was asked for lately is said not to exist, or several domains that were there lately
//!   are gone at once: then no domain's absence is believed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use mail_types::Domain;

/// What DNS said of domains lately.
#[derive(Debug, Default)]
pub struct NxdomainGuard {
    /// When each was last asked for, and whether it was said not to exist; monotonic. On a busy relay not all
    /// of them.
    domains: HashMap<Domain, Answer>,
    /// The last ones that were asked for, the newest last, each once: also where `domains` has no room.
    latest: VecDeque<(Domain, Answer)>,
    existed: Existed,
    /// When anything was last found, or proven not to exist.
    found: Option<Duration>,
    /// When it was last told that no NXDOMAIN is believed, if that is so.
    told: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Duration,
    absent: bool,
    /// It was there lately, and its end is not believed yet.
    gone: bool,
}

/// A definite answer about a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It is there.
    There,
    /// NXDOMAIN, or no host for its mail, by the resolver's word alone.
    Absent,
    /// NXDOMAIN, and DNSSEC vouches for it: no sign of a resolver that lies.
    ProvedAbsent,
}

/// Why it is not believed yet that one domain does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disbelief {
    /// It was there within the last day.
    WasThere,
    /// It was first said when nearly nothing was to be found.
    WasDoubted,
    /// It was first said by servers that had found nothing. They may have by now.
    NothingFound,
}

impl Disbelief {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::WasThere, Self::WasDoubted, Self::NothingFound];

    /// What follows the answer of DNS where it is told.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::WasThere => {
                " This is not believed yet: the domain was there within the last day. The mail is \
                 returned if the answer stays the same for four hours."
            }
            Self::WasDoubted => {
                " This is not believed yet: it was first said when nearly every domain was said not to exist. The \
                 mail is returned if the answer stays the same for four hours."
            }
            Self::NothingFound => {
                " This is not believed yet: our name servers do not find its top-level domain either, and have \
                 found no other domain lately. The mail is returned once they do, or if the answer stays the same \
                 for four hours."
            }
        }
    }
}

/// Why no NXDOMAIN is believed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Domains that are said not to exist.
    pub absent: usize,
    /// Of so many that were asked for.
    pub asked: usize,
    /// Nobody has been told within the last five minutes.
    pub news: bool,
}

impl NxdomainGuard {
    /// DNS has given a definite answer about a domain.
    pub fn note(&mut self, domain: &Domain, existence: Existence, now: Duration) {
        let absent = existence == Existence::Absent;
        if !absent {
            self.found = Some(now);
        }
        let gone = self.existed.note(domain, existence, now);
        if self.domains.len() >= MOST {
            self.forget(now);
        }
        let answer = Answer {
            at: now,
            absent,
            gone,
        };
        if self.domains.len() < MOST || self.domains.contains_key(domain) {
            self.domains.insert(domain.clone(), answer);
        }
        self.latest.retain(|(other, _)| other != domain);
        self.latest.push_back((domain.clone(), answer));
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
    }

    /// Whether no NXDOMAIN is to be believed now.
    #[must_use]
    pub fn doubt(&mut self, now: Duration) -> Option<Doubt> {
        self.forget(now);
        let (absent, asked) = self.suspicious()?;
        let news = self.told.is_none_or(|told| told + WINDOW <= now);
        if news {
            self.told = Some(now);
        }
        Some(Doubt {
            absent,
            asked,
            news,
        })
    }

    /// Whether what has been told of a doubt is over; then it is taken for told.
    #[must_use]
    pub fn has_ended(&mut self, now: Duration) -> bool {
        if self.told.is_none() {
            return false;
        }
        self.forget(now);
        self.suspicious().is_none() && self.told.take().is_some()
    }

    /// The domain's mail was put off in doubt: what DNS says of it is not believed before it has said so for a
    /// while. Otherwise the next look, after the doubt was forgotten, would be the first of its kind.
    pub fn put_in_doubt(&mut self, domain: &Domain, why: Disbelief, now: Duration) {
        self.existed.put_in_doubt(domain, why, now);
    }

    /// Whether anything was found lately, or proven not to exist.
    #[must_use]
    pub fn finds_something(&self, now: Duration) -> bool {
        let is_found = |answer: &Answer| !answer.absent && answer.at + WINDOW > now;
        let latest = self.latest.iter().map(|(_, answer)| answer);
        latest.chain(self.domains.values()).any(is_found)
    }

    /// Why it is not believed yet that the domain is gone.
    #[must_use]
    pub fn disbelief(&self, domain: &Domain, now: Duration) -> Option<Disbelief> {
        self.existed.still_to_wait(domain, now)?;
        let seen = self.existed.get(domain, now)?;
        let was_found_out = match (seen.why, seen.gone, self.found) {
            (Disbelief::NothingFound, Some(gone), Some(found)) => found >= gone,
            _ => false,
        };
        (!was_found_out).then_some(seen.why)
    }

    fn forget(&mut self, now: Duration) {
        self.domains.retain(|_, answer| answer.at + WINDOW > now);
        self.latest.retain(|(_, answer)| answer.at + WINDOW > now);
    }

    /// So many are absent, of so many: more than resolvers that tell the truth say.
    fn suspicious(&self) -> Option<(usize, usize)> {
        let count = |of: &mut dyn Iterator<Item = &Answer>| {
            of.fold((0, 0), |(absent, asked), answer| {
                (absent + usize::from(answer.absent), asked + 1)
            })
        };
        let is_most = |(absent, asked): (usize, usize)| asked >= LATEST && absent * 10 > asked * 9;
        let all = count(&mut self.domains.values());
        let latest = || self.latest.iter().map(|(_, answer)| answer);
        let newest = count(&mut latest());
        let gone = latest().filter(|answer| answer.gone).count();
        if is_most(all) {
            Some(all)
        } else {
            (is_most(newest) || gone >= GONE).then_some(newest)
        }
    }
}

/// Domains that were there lately. Two generations bound it: what was not seen since the younger was begun
/// goes with the older.
#[derive(Debug, Default)]
struct Existed {
    young: HashMap<Domain, Seen>,
    old: HashMap<Domain, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When it was there last, or was first put in doubt; monotonic.
    at: Duration,
    why: Disbelief,
    /// Since when it has been said not to exist.
    gone: Option<Duration>,
}

impl Existed {
    /// Says whether it was there lately, and its absence is not believed yet.
    fn note(&mut self, domain: &Domain, existence: Existence, now: Duration) -> bool {
        let seen = match (existence, self.get(domain, now)) {
            (Existence::There, _) => Seen {
                at: now,
                why: Disbelief::WasThere,
                gone: None,
            },
            (Existence::Absent, Some(seen)) => Seen {
                gone: seen.gone.or(Some(now)),
                ..seen
            },
            (Existence::Absent, None) => return false,
            (Existence::ProvedAbsent, _) => {
                self.young.remove(domain);
                self.old.remove(domain);
                return false;
            }
        };
        self.remember(domain, seen);
        seen.why == Disbelief::WasThere && self.still_to_wait(domain, now).is_some()
    }

    fn put_in_doubt(&mut self, domain: &Domain, why: Disbelief, now: Duration) {
        let seen = match self.get(domain, now) {
            None => Seen {
                at: now,
                why,
                gone: Some(now),
            },
            // Of a resolver that is doubted more than one find is wanted.
            Some(seen) if seen.why == Disbelief::NothingFound => Seen { why, ..seen },
            Some(_) => return,
        };
        self.remember(domain, seen);
    }

    fn remember(&mut self, domain: &Domain, seen: Seen) {
        if self.young.len() >= MOST / 2 && !self.young.contains_key(domain) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(domain.clone(), seen);
    }

    fn get(&self, domain: &Domain, now: Duration) -> Option<Seen> {
        let seen = self.young.get(domain).or_else(|| self.old.get(domain))?;
        let last = seen.gone.unwrap_or(now);
        (last < seen.at + REMEMBERED && now < last + REMEMBERED).then_some(*seen)
    }

    fn still_to_wait(&self, domain: &Domain, now: Duration) -> Option<Duration> {
        let gone = self.get(domain, now)?.gone?;
        let left = (gone + BELIEVED_AFTER).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }
}

/// How far back it looks.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// A few mistyped domains are no sign of anything; with so many, the last ones alone are enough.
const LATEST: usize = 10;
/// Of the last ones, so many that were there before: domains do not end in swarms.
const GONE: usize = 3;
/// Domains that are remembered.
const MOST: usize = 10_000;
/// A domain that was there within this time is known.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How long a known domain has to be gone: two answers of NXDOMAIN at least so far apart, as for mail that is
/// protected (decision AMB-04).
const BELIEVED_AFTER: Duration = Duration::from_hours(4);

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Existence = Existence::There;
    const ABSENT: Existence = Existence::Absent;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn domain(n: usize) -> Domain {
        Domain::parse(&format!("d{n}.test")).unwrap()
    }

    fn ask(guard: &mut NxdomainGuard, range: std::ops::Range<usize>, absent: bool, now: Duration) {
        let existence = if absent { ABSENT } else { THERE };
        for n in range {
            guard.note(&domain(n), existence, now);
        }
    }

    const fn doubt(absent: usize, asked: usize, news: bool) -> Option<Doubt> {
        Some(Doubt {
            absent,
            asked,
            news,
        })
    }

    #[test]
    fn h1_30_nxdomain_is_doubted_only_if_nearly_everything_is_gone() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..9, true, at(1));
        assert_eq!(guard.doubt(at(1)), None, "a few mistyped domains");
        ask(&mut guard, 0..9, true, at(2));
        assert_eq!(guard.doubt(at(2)), None, "the same ones again");
        ask(&mut guard, 9..19, true, at(3));
        assert_eq!(guard.doubt(at(3)), doubt(19, 19, true));
        assert_eq!(guard.doubt(at(4)), doubt(19, 19, false), "told once");
        ask(&mut guard, 19..21, false, at(4));
        assert_eq!(guard.doubt(at(4)), doubt(19, 21, false));
        ask(&mut guard, 21..22, false, at(4));
        assert_eq!(guard.doubt(at(4)), None, "19 of 22 are under nine tenths");
        ask(&mut guard, 30..50, true, at(5));
        assert_eq!(guard.doubt(at(5)), doubt(39, 42, false));
        assert_eq!(guard.doubt(at(305)), None, "five minutes later");
        ask(&mut guard, 50..60, true, at(306));
        assert_eq!(guard.doubt(at(306)), doubt(10, 10, true));
        assert!(!guard.has_ended(at(307)));
        ask(&mut guard, 60..62, false, at(308));
        assert!(guard.has_ended(at(308)));
        assert!(!guard.has_ended(at(309)), "once");
    }

    #[test]
    fn h1_30_the_latest_answers_count_whatever_was_before() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..100, false, at(1));
        ask(&mut guard, 100..109, true, at(35));
        assert_eq!(guard.doubt(at(35)), None, "a few mistyped domains");
        ask(&mut guard, 109..110, true, at(35));
        assert_eq!(guard.doubt(at(35)), doubt(10, 10, true));
        ask(&mut guard, 0..1, false, at(36));
        assert_eq!(guard.doubt(at(36)), None, "one is there");
    }

    #[test]
    fn h1_30_domains_that_were_there_do_not_end_in_swarms() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..20, false, at(1));
        ask(&mut guard, 0..2, true, at(40_000));
        assert_eq!(guard.doubt(at(40_000)), None, "two may have ended");
        ask(&mut guard, 2..3, true, at(40_001));
        assert_eq!(guard.doubt(at(40_001)), doubt(3, 3, true));
        ask(&mut guard, 0..3, false, at(40_002));
        assert_eq!(guard.doubt(at(40_002)), None, "they are there again");
    }

    #[test]
    fn h1_30_the_end_of_a_domain_that_was_there_is_believed_when_seen_again_later() {
        let mut guard = NxdomainGuard::default();
        let (known, other) = (domain(0), domain(1));
        guard.note(&known, THERE, at(1));
        guard.note(&known, ABSENT, at(60));
        guard.note(&other, ABSENT, at(60));
        assert_eq!(
            guard.existed.still_to_wait(&other, at(60)),
            None,
            "never seen"
        );
        assert_eq!(
            guard.existed.still_to_wait(&known, at(60)),
            Some(BELIEVED_AFTER)
        );
        let nearly = at(59) + BELIEVED_AFTER;
        guard.note(&known, ABSENT, nearly);
        assert_eq!(guard.existed.still_to_wait(&known, nearly), Some(at(1)));
        let then = at(60) + BELIEVED_AFTER;
        guard.note(&known, ABSENT, then);
        assert_eq!(
            guard.existed.still_to_wait(&known, then),
            None,
            "it is gone"
        );
        guard.note(&known, THERE, then + at(1));
        guard.note(&known, ABSENT, then + at(2));
        let left = guard.existed.still_to_wait(&known, then + at(2));
        assert_eq!(left, Some(BELIEVED_AFTER), "it was there in between");
        guard.note(&known, Existence::ProvedAbsent, then + at(3));
        guard.note(&known, ABSENT, then + at(4));
        let left = guard.existed.still_to_wait(&known, then + at(4));
        assert_eq!(left, None, "DNSSEC has vouched for its end");
        guard.note(&other, THERE, at(0));
        let long_after = REMEMBERED * 2;
        guard.note(&other, ABSENT, long_after);
        assert_eq!(
            guard.existed.still_to_wait(&other, long_after),
            None,
            "long ago"
        );
    }

    #[test]
    fn h1_30_domains_that_have_ended_raise_no_doubt_for_ever() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..3, false, at(1));
        ask(&mut guard, 0..3, true, at(60));
        assert_eq!(guard.doubt(at(60)), doubt(3, 3, true));
        let later = at(60) + BELIEVED_AFTER;
        ask(&mut guard, 0..3, true, later);
        assert_eq!(guard.doubt(later), None);
    }

    #[test]
    fn h1_30_the_latest_answers_count_however_much_was_asked_before() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..MOST, false, at(1));
        // All of them new, and there is no room to remember them among the others.
        ask(&mut guard, MOST..MOST + LATEST, true, at(2));
        assert_eq!(guard.doubt(at(2)), doubt(LATEST, LATEST, true));
        assert_eq!(guard.doubt(at(302)), None, "five minutes later");
    }

    #[test]
    fn h1_30_memory_is_bounded() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..MOST + 10, true, at(1));
        ask(&mut guard, 0..MOST + 10, false, at(2));
        assert_eq!(guard.domains.len(), MOST);
        assert!(guard.existed.young.len() + guard.existed.old.len() <= MOST);
        assert!(guard.latest.len() <= LATEST);
        ask(&mut guard, MOST + 10..MOST + 11, false, at(400));
        assert_eq!(guard.domains.len(), 1);
    }

    #[test]
    fn h1_30_what_was_put_off_in_doubt_is_not_believed_when_the_doubt_is_forgotten() {
        let mut guard = NxdomainGuard::default();
        ask(&mut guard, 0..12, true, at(0));
        assert_eq!(guard.doubt(at(0)), doubt(12, 12, true));
        guard.put_in_doubt(&domain(11), Disbelief::WasDoubted, at(0));
        assert_eq!(
            guard.disbelief(&domain(11), at(0)),
            Some(Disbelief::WasDoubted)
        );
        assert_eq!(guard.disbelief(&domain(10), at(0)), None);
        // Nothing is asked for a while, and a busy relay's other mail goes on.
        let later = at(600);
        ask(&mut guard, 20..40, false, later);
        ask(&mut guard, 11..12, true, later);
        assert_eq!(guard.doubt(later), None);
        assert_eq!(
            guard.disbelief(&domain(11), later),
            Some(Disbelief::WasDoubted)
        );
        // It counts as no domain that was there.
        assert!(!guard.latest.iter().any(|(_, answer)| answer.gone));
        let believed = BELIEVED_AFTER + at(1);
        ask(&mut guard, 11..12, true, believed);
        assert_eq!(guard.disbelief(&domain(11), believed), None);
        // Who was found meanwhile is known.
        ask(&mut guard, 11..12, false, believed);
        ask(&mut guard, 11..12, true, believed);
        assert_eq!(
            guard.disbelief(&domain(11), believed),
            Some(Disbelief::WasThere)
        );
    }

    #[test]
    fn h1_30_what_nobody_vouched_for_is_not_believed_for_a_while() {
        let mut guard = NxdomainGuard::default();
        assert!(!guard.finds_something(at(1)), "as after a start");
        let (one, other) = (domain(0), domain(1));
        for d in [&one, &other] {
            guard.note(d, ABSENT, at(1));
            guard.put_in_doubt(d, Disbelief::NothingFound, at(1));
        }
        assert!(!guard.finds_something(at(1)));
        assert_eq!(guard.disbelief(&one, at(60)), Some(Disbelief::NothingFound));
        // Doubted for more than that it stays so, whatever is found.
        guard.put_in_doubt(&other, Disbelief::WasDoubted, at(60));
        guard.put_in_doubt(&other, Disbelief::NothingFound, at(61));
        guard.note(&domain(2), THERE, at(61));
        // Its servers find something: so they did not lie, however late that is looked at.
        assert_eq!(guard.disbelief(&one, at(3600)), None);
        assert!(guard.finds_something(at(61)) && !guard.finds_something(at(362)));
        assert_eq!(guard.disbelief(&other, at(61)), Some(Disbelief::WasDoubted));
        let believed = BELIEVED_AFTER + at(1);
        for d in [&one, &other] {
            guard.note(d, ABSENT, believed);
            // The four hours do not begin anew.
            guard.put_in_doubt(d, Disbelief::NothingFound, believed);
            assert_eq!(guard.disbelief(d, believed), None);
        }
        guard.note(&one, Existence::ProvedAbsent, at(99_000));
        assert!(
            guard.finds_something(at(99_000)),
            "who proves it tells the truth"
        );
    }
}
