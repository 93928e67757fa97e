//! Answers logins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use smtp_proto::{ScramKeys, ScramSecret};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::recent::Recent;
use crate::throttle::group;
use crate::verifier::{self, ROUNDS, SALT};
use crate::{Name, Password, Secret, Throttle, User, UsersFile};

/// Whom there is, and who may try how often. Shared by all sessions.
pub struct Directory {
    users: ArcSwap<UsersFile>,
    throttle: Throttle,
    recent: Recent,
    /// Of this installation: for users that do not exist.
    secret: hmac::Key,
    /// One for each Argon2 that may run at the same time.
    places: Arc<Semaphore>,
    /// How many wait for one, by address.
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
    /// Too many failures: nothing was looked at. Again after this time.
    HeldOff(Duration),
    /// Too many logins at once.
    Busy,
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
            throttle: Throttle::default(),
            recent: Recent::new(&Secret::random()?),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret.octets()),
            places: Arc::new(Semaphore::new(places.max(1))),
            waiting: Mutex::default(),
        })
    }

    /// Puts other users in force; sessions that are logged in stay so.
    pub fn replace(&self, users: UsersFile) {
        self.users.store(Arc::new(users));
        self.recent.clear();
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
        if let Some(wait) = self.throttle.wait(address, spelt, Instant::now()) {
            return Verdict::HeldOff(wait);
        }
        let found = {
            let users = self.users.load();
            name.as_ref().and_then(|name| users.user(name).cloned())
        };
        let right = match attempt {
            Attempt::Proof { holds } => holds && found.is_some(),
            Attempt::Password(password) => {
                match self.password(address, found.as_ref(), password).await {
                    Some(right) => right,
                    None => return Verdict::Busy,
                }
            }
        };
        let now = Instant::now();
        match found {
            Some(user) if right => {
                self.throttle.succeeded(address, spelt, now);
                Verdict::Accepted(user.name)
            }
            _ => Verdict::Rejected(self.throttle.failed(address, spelt, now)),
        }
    }

    /// `None`: too much to do.
    async fn password(
        &self,
        address: IpAddr,
        user: Option<&User>,
        text: Zeroizing<String>,
    ) -> Option<bool> {
        let password = Password::parse(&text);
        if let (Some(user), Some(password)) = (user, &password)
            && self
                .recent
                .knows(&user.name, &user.verifier, password, Instant::now())
        {
            return Some(true);
        }
        let _waiting = self.queue_up(group(address))?;
        let place = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok()?.ok()?;
        // The whole work for every wrong answer (row G2-08).
        let verifier = user.map(|user| user.verifier.clone());
        let judged = password.clone();
        let right = tokio::task::spawn_blocking(move || {
            let _place = place;
            match (verifier, judged) {
                (Some(verifier), Some(password)) => verifier.accepts(&password),
                (_, Some(password)) => {
                    verifier::pretend(password.as_bytes());
                    false
                }
                (_, None) => {
                    verifier::pretend(b"none");
                    false
                }
            }
        });
        // It ends early only if the process does.
        let right = right.await.ok()?;
        if let (true, Some(user), Some(password)) = (right, user, &password) {
            self.recent
                .keep(&user.name, &user.verifier, password, Instant::now());
        }
        Some(right)
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

/// Logins whose password waits to be judged, or is being judged.
const MOST_WAITING: usize = 64;
const MOST_WAITING_OF_ADDRESS: usize = 16;
/// How long one of them waits.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
