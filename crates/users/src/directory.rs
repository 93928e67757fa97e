//! Answers logins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use smtp_proto::{ScramKeys, ScramSecret};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::judging::{First, Judging, Turn};
use crate::recent::Recent;
use crate::throttle::{Admission, group};
use crate::verifier::{self, ROUNDS, SALT};
use crate::{Name, Password, Secret, Throttle, User, UsersFile};

/// Whom there is, and who may try how often. Shared by all sessions.
pub struct Directory {
    users: ArcSwap<UsersFile>,
    throttle: Throttle,
    recent: Recent,
    judging: Judging,
    /// Of this installation: for users that do not exist.
    secret: hmac::Key,
    /// One for each Argon2 that may run at the same time.
    places: Arc<Semaphore>,
    /// One for all who are held off and known. Of its own: nobody else's login shall take longer
    /// for it, since that would tell.
    place_of_known: Arc<Semaphore>,
    /// Of a user at an address, whose turn it is to wait for `place_of_known`: one at a time, so that
    /// nobody fills that queue with many logins.
    turns: Mutex<HashMap<(IpAddr, Name), Arc<Semaphore>>>,
    /// How many wait for one of `places`, by address.
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// What is to be judged.
pub enum Attempt {
    /// A password.
    Password(Zeroizing<String>),
    /// A proof by SCRAM that was judged with [`Directory::scram`]'s keys.
    Proof {
        /// Whether it is right.
        holds: bool,
    },
}

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is this user.
    Accepted(Name),
    /// It is not; the reply is to be held back for so long.
    Rejected(Duration),
    /// Too many failures: whether the password is right does not matter, or was not looked at.
    HeldOff {
        /// When it may be tried again, from the reply on.
        again: Duration,
        /// The reply is to be held back for so long.
        delay: Duration,
    },
    /// Too many logins at once.
    Busy,
}

/// What became of an attempt.
enum Judged<'d> {
    /// It is right or wrong. With the place in which that was found.
    As(bool, Option<Place<'d>>),
    /// Nobody looked: it has to wait for so long, is known at this address or not, and was told at this time.
    HeldOff(Duration, bool, Instant),
    /// Too much to do.
    Busy,
}

/// Kept until the verdict counts.
struct Place<'d> {
    _permit: OwnedSemaphorePermit,
    _first: Option<First<'d>>,
}

impl Directory {
    /// With these users. `places`: how many passwords may be judged at the same time; each takes a
    /// core and 19 MiB.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(users: UsersFile, secret: &Secret, places: usize) -> std::io::Result<Self> {
        Ok(Self {
            users: ArcSwap::from_pointee(users),
            throttle: Throttle::new(secret),
            recent: Recent::new(&Secret::random()?),
            judging: Judging::new(&Secret::random()?),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret.octets()),
            places: Arc::new(Semaphore::new(places.max(1))),
            place_of_known: Arc::new(Semaphore::new(1)),
            turns: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// Puts other users in force; sessions that are logged in stay so.
    pub fn replace(&self, users: UsersFile) {
        self.users.store(Arc::new(users));
        self.recent.clear();
    }

    /// Recalls from the data directory who was known to an earlier process; `wall`: Unix seconds. What
    /// cannot be read is passed over.
    pub fn recall(&self, data_dir: &Path, wall: u64) {
        self.throttle.known.read(data_dir, Instant::now(), wall);
    }

    /// Writes down for the next process who is known, if there is anybody new.
    ///
    /// # Errors
    /// The file cannot be written; the next call tries again.
    pub fn write_down(&self, data_dir: &Path, wall: u64) -> std::io::Result<()> {
        self.throttle.known.write(data_dir, Instant::now(), wall)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.load().users().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For a login by SCRAM: what is known of a user, or the like of it (RFC 5802 section 9, row
    /// G2-08). The same work and the same salt every time, whether there is the user or not.
    #[must_use]
    pub fn scram(&self, user: &str) -> ScramSecret {
        let name = Name::parse(user).ok();
        let spelt = name.as_ref().map_or(user, Name::as_str);
        let pretended = self.pretended(spelt);
        let users = self.users.load();
        let known = name.and_then(|name| users.user(&name)?.verifier.scram().cloned());
        known.unwrap_or(pretended)
    }

    /// Judges a login from an address.
    pub async fn judge(&self, address: IpAddr, user: &str, attempt: Attempt) -> Verdict {
        let name = Name::parse(user).ok();
        let spelt = name.as_ref().map_or(user, Name::as_str);
        let began = Instant::now();
        let admission = self.throttle.admit(address, spelt, began);
        let found = {
            let users = self.users.load();
            name.as_ref().and_then(|name| users.user(name).cloned())
        };
        let judged = match (admission, &attempt) {
            (Admission::HeldOff { wait, known }, _) => Judged::HeldOff(wait, known, began),
            (Admission::Free, Attempt::Proof { holds }) => Judged::As(*holds, None),
            (Admission::Free, Attempt::Password(text)) => {
                self.password((address, spelt), found.as_ref(), text).await
            }
        };
        let (wait, known, since) = match judged {
            Judged::HeldOff(wait, known, since) => (wait, known, since),
            Judged::Busy => return Verdict::Busy,
            // A failure is counted before another one gets the place.
            Judged::As(right, _place) => {
                return match found.filter(|_| right) {
                    Some(user) => self.accepted(address, user),
                    None => {
                        let failed = self.throttle.failed(address, spelt, Instant::now());
                        Verdict::Rejected(failed)
                    }
                };
            }
        };
        if let Some(user) = found.filter(|_| known)
            && self.holds_for_known(address, &user, attempt).await
        {
            return self.accepted(address, user);
        }
        held_off(wait, since)
    }

    fn accepted(&self, address: IpAddr, user: User) -> Verdict {
        let name = user.name.as_str();
        self.throttle.succeeded(address, name, Instant::now());
        Verdict::Accepted(user.name)
    }

    /// Whether somebody who is held off, and known here, may come in all the same. Whoever may not
    /// gets the reply of all who are held off at the same time as they do, however long this took
    /// ([`held_off`]), so that the others need not do this work for the looks of it. That is also
    /// why it burns no processor: it is done for those only who were let in from this address
    /// before, one at a time, and [`Throttle`] counts how often in vain for each.
    async fn holds_for_known(&self, address: IpAddr, user: &User, attempt: Attempt) -> bool {
        let name = user.name.as_str();
        let look = |right| self.throttle.look(address, name, right, Instant::now());
        let password = match attempt {
            Attempt::Proof { holds } => return look(holds),
            Attempt::Password(text) => Password::parse(&text),
        };
        // It is the only right one, too.
        if let Some(right) = self.judged_before(user, password.as_ref()) {
            return look(right);
        }
        let judged = async {
            let turn = self.turn(group(address), &user.name);
            let _turn = turn.acquire().await.ok()?;
            let place = Arc::clone(&self.place_of_known)
                .acquire_owned()
                .await
                .ok()?;
            // By those who had their turn before.
            if let Some(right) = self.judged_before(user, password.as_ref()) {
                return Some(look(right));
            }
            let now = Instant::now();
            let mut counted = self.throttle.begin_look(address, name, now)?;
            let (right, place) = self.work(place, Some(user), password).await?;
            counted.right = right;
            drop(counted);
            drop(place);
            Some(right)
        };
        matches!(timeout(HELD_OFF_DELAY, judged).await, Ok(Some(true)))
    }

    /// As many as there are logins that wait for one, and those that have ended since the last call.
    fn turn(&self, address: IpAddr, user: &Name) -> Arc<Semaphore> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = turns.entry((address, user.clone()));
        Arc::clone(turn.or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// Whether it is this user's password, when there is a place to judge it. Who comes while the
    /// same is being judged waits for that, and takes no place in the queue.
    async fn password(
        &self,
        (address, spelt): (IpAddr, &str),
        user: Option<&User>,
        text: &str,
    ) -> Judged<'_> {
        let password = Password::parse(text);
        if self.was_right(user, password.as_ref()) {
            return Judged::As(true, None);
        }
        let until = Instant::now() + PATIENCE;
        let first = match self.judging.begin(spelt, text) {
            Turn::First(first) => Some(first),
            Turn::Behind(behind) => {
                if timeout_at(until, behind.ended()).await.is_err() {
                    return Judged::Busy;
                }
                if let Some(judged) = self.meanwhile((address, spelt), user, password.as_ref()) {
                    return judged;
                }
                None
            }
        };
        let Some(_waiting) = self.queue_up(group(address)) else {
            return Judged::Busy;
        };
        let place = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Judged::Busy;
        };
        if let Some(judged) = self.meanwhile((address, spelt), user, password.as_ref()) {
            return judged;
        }
        match self.work(place, user, password).await {
            Some((right, permit)) => {
                let place = Place {
                    _permit: permit,
                    _first: first,
                };
                Judged::As(right, Some(place))
            }
            None => Judged::Busy,
        }
    }

    /// What others have brought about while this one waited.
    fn meanwhile(
        &self,
        (address, spelt): (IpAddr, &str),
        user: Option<&User>,
        password: Option<&Password>,
    ) -> Option<Judged<'_>> {
        // They failed: many at once are no way around the pause.
        let now = Instant::now();
        if let Admission::HeldOff { wait, known } = self.throttle.admit(address, spelt, now) {
            return Some(Judged::HeldOff(wait, known, now));
        }
        self.was_right(user, password)
            .then_some(Judged::As(true, None))
    }

    fn was_right(&self, user: Option<&User>, password: Option<&Password>) -> bool {
        user.and_then(|user| self.judged_before(user, password)) == Some(true)
    }

    /// `None`: that takes the whole work.
    fn judged_before(&self, user: &User, password: Option<&Password>) -> Option<bool> {
        let (name, verifier) = (&user.name, &user.verifier);
        self.recent.judge(name, verifier, password?, Instant::now())
    }

    /// The whole work for every wrong answer (row G2-08), and the place back. `None`: the process ends.
    async fn work(
        &self,
        place: OwnedSemaphorePermit,
        user: Option<&User>,
        password: Option<Password>,
    ) -> Option<(bool, OwnedSemaphorePermit)> {
        let verifier = user.map(|user| user.verifier.clone());
        let judged = password.clone();
        let right = tokio::task::spawn_blocking(move || {
            let right = match (verifier, judged) {
                (Some(verifier), Some(password)) => verifier.accepts(&password),
                (_, Some(password)) => {
                    verifier::pretend(password.as_bytes());
                    false
                }
                (_, None) => {
                    verifier::pretend(b"none");
                    false
                }
            };
            (right, place)
        });
        let (right, place) = right.await.ok()?;
        if let (true, Some(user), Some(password)) = (right, user, &password) {
            self.recent
                .keep(&user.name, &user.verifier, password, Instant::now());
        }
        Some((right, place))
    }

    /// A place in the queue, given back when it is dropped. One address cannot take them all.
    fn queue_up(&self, address: IpAddr) -> Option<Waiting<'_>> {
        let mut waiting = self.waiting.lock();
        let all: usize = waiting.values().sum();
        let here = waiting.get(&address).copied().unwrap_or_default();
        if all >= MOST_WAITING || here >= MOST_WAITING_OF_ADDRESS {
            return None;
        }
        waiting.insert(address, here + 1);
        Some(Waiting {
            directory: self,
            address,
        })
    }

    fn pretended(&self, user: &str) -> ScramSecret {
        let octets = |what: &[u8]| {
            let mut context = hmac::Context::with_key(&self.secret);
            context.update(what);
            context.update(user.as_bytes());
            let tag = context.sign();
            let mut octets = [0; 32];
            for (to, from) in octets.iter_mut().zip(tag.as_ref()) {
                *to = *from;
            }
            octets
        };
        ScramSecret {
            salt: octets(b"salt:").get(..SALT).unwrap_or_default().into(),
            rounds: ROUNDS,
            keys: ScramKeys::new(octets(b"stored:"), octets(b"server:")),
        }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

struct Waiting<'d> {
    directory: &'d Directory,
    address: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.directory.waiting.lock();
        if let Some(here) = waiting.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                waiting.remove(&self.address);
            }
        }
    }
}

/// The reply is due [`HELD_OFF_DELAY`] after the login came, whatever was done meanwhile.
fn held_off(wait: Duration, began: Instant) -> Verdict {
    Verdict::HeldOff {
        again: wait.saturating_sub(HELD_OFF_DELAY),
        delay: (began + HELD_OFF_DELAY).saturating_duration_since(Instant::now()),
    }
}

/// From a login that is held off to its reply: much more than judging a password takes.
const HELD_OFF_DELAY: Duration = Duration::from_secs(2);
/// Logins whose password waits to be judged, or is being judged.
const MOST_WAITING: usize = 64;
const MOST_WAITING_OF_ADDRESS: usize = 16;
/// How long one of them waits.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
