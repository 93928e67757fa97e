//! Sessions of browsers: short, in memory, gone at a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use admin::Role;
use parking_lot::Mutex;

use crate::secret::{Digest, Random, fresh};
use crate::tokens::Tokens;

/// Open sessions by the digest of what the cookie says.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Digest, Session>>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    /// What it was opened with; `None` for the link that is printed at start.
    token: Option<Digest>,
    /// What a request that acts has to repeat in a header, which no other site can set.
    pub(crate) csrf: String,
    begun: Duration,
    used: Duration,
}

/// A session that was just opened.
pub(crate) struct Opened {
    /// For the cookie.
    pub(crate) secret: String,
    pub(crate) session: Session,
}

impl Sessions {
    /// Opens one; `None` if the system has no random numbers.
    pub(crate) fn open(
        &self,
        name: &Arc<str>,
        role: Role,
        token: Option<Digest>,
        random: &Random,
        now: Duration,
    ) -> Option<Opened> {
        let session = Session {
            name: Arc::clone(name),
            role,
            token,
            csrf: fresh(random)?,
            begun: now,
            used: now,
        };
        let secret = fresh(random)?;
        let mut open = self.0.lock();
        open.retain(|_, s| s.is_open(now));
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, s)| s.used).map(|(d, _)| *d);
            oldest.map(|digest| open.remove(&digest));
        }
        open.insert(Digest::of(&secret), session.clone());
        Some(Opened { secret, session })
    }

    /// The session of a cookie. Looking at it keeps it open, unless its token is gone, or has another
    /// role now.
    pub(crate) fn look(&self, secret: &str, tokens: &Tokens, now: Duration) -> Option<Session> {
        let mut open = self.0.lock();
        let digest = Digest::of(secret);
        let session = open.get_mut(&digest)?;
        let has_token = session.token.is_none_or(|token| {
            let current = tokens.current(&session.name, &token);
            current.is_some_and(|current| current.role == session.role)
        });
        if !has_token || !session.is_open(now) {
            open.remove(&digest);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// As [`Sessions::look`], without keeping it open.
    pub(crate) fn is_open(&self, secret: &str, tokens: &Tokens, now: Duration) -> bool {
        let open = self.0.lock();
        open.get(&Digest::of(secret)).is_some_and(|session| {
            let token = session.token;
            let has_token =
                token.is_none_or(|token| tokens.current(&session.name, &token).is_some());
            has_token && session.is_open(now)
        })
    }

    /// Ends one.
    pub(crate) fn close(&self, secret: &str) {
        self.0.lock().remove(&Digest::of(secret));
    }
}

impl Session {
    fn is_open(&self, now: Duration) -> bool {
        now.saturating_sub(self.begun) < LONGEST && now.saturating_sub(self.used) < IDLE
    }

    /// How long it can last at most from now on.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        (self.begun + LONGEST).saturating_sub(now)
    }
}

/// However busy.
pub(crate) const LONGEST: Duration = Duration::from_secs(8 * 60 * 60);
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Beyond it the one that was idle longest is closed.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    fn random() -> Random {
        let n = AtomicU8::new(0);
        Arc::new(move || Some([n.fetch_add(1, Ordering::Relaxed); 32]))
    }

    fn open(sessions: &Sessions, random: &Random, now: u64) -> String {
        let now = Duration::from_secs(now);
        let opened = sessions.open(&"link".into(), Role::Admin, None, random, now);
        opened.unwrap().secret
    }

    #[test]
    fn sessions_end_idle_old_or_on_logout() {
        let (sessions, random, none) = (Sessions::default(), random(), Tokens::default());
        let look = |secret: &str, now| {
            let found = sessions.look(secret, &none, Duration::from_secs(now));
            found.is_some()
        };
        let idle = open(&sessions, &random, 0);
        assert!(look(&idle, 1799) && look(&idle, 3500) && !look(&idle, 3500 + 1800));
        assert!(!look(&idle, 3500), "once closed it stays closed");
        let busy = open(&sessions, &random, 0);
        assert!((1..32).all(|n| look(&busy, n * 900)) && !look(&busy, 8 * 3600));
        let left = open(&sessions, &random, 0);
        sessions.close(&left);
        assert!(!look(&left, 1) && !look("", 1) && !look("no such", 1));
    }

    #[test]
    fn there_are_not_endlessly_many() {
        let (sessions, random) = (Sessions::default(), random());
        for n in 0..(MOST as u64 + 10) {
            open(&sessions, &random, n);
        }
        assert!(sessions.0.lock().len() <= MOST);
    }
}
