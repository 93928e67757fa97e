//! Passwords that were right a moment ago.
//!
//! Applications log in anew for each mail; Argon2id would cost each time what a guess is meant to
//! cost. So a password that was found right is known again for five minutes, by an HMAC under a key
//! that is random, made at the start, and nowhere but in memory. That is safe because
//!
//! * only a password that was right is ever known again: a wrong one always costs the whole work,
//!   so that guessing is as slow as before, and the quick answer tells only who knows it already;
//! * the HMAC covers the user's name and hash: with a new password, or none, nothing is known again;
//! * five minutes count from the work that was really done, and are not renewed by use;
//! * whoever could read the key from memory could read the passwords as they come in.
//!
//! One entry for a user, so at most as many as there are users.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Name, Password, Secret, Verifier};

pub(crate) struct Recent {
    key: hmac::Key,
    entries: Mutex<HashMap<Name, Entry>>,
}

struct Entry {
    tag: hmac::Tag,
    until: Instant,
}

impl Recent {
    pub(crate) fn new(key: &Secret) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.octets()),
            entries: Mutex::default(),
        }
    }

    /// Whether this was found right within the last minutes.
    pub(crate) fn knows(
        &self,
        name: &Name,
        verifier: &Verifier,
        password: &Password,
        now: Instant,
    ) -> bool {
        let entries = self.entries.lock();
        let Some(entry) = entries.get(name).filter(|entry| now < entry.until) else {
            return false;
        };
        let given = self.tag(name, verifier, password);
        let verified =
            aws_lc_rs::constant_time::verify_slices_are_equal(given.as_ref(), entry.tag.as_ref());
        verified.is_ok()
    }

    /// It was just found right.
    pub(crate) fn keep(&self, name: &Name, verifier: &Verifier, password: &Password, now: Instant) {
        let tag = self.tag(name, verifier, password);
        let until = now + KEPT;
        self.entries
            .lock()
            .insert(name.clone(), Entry { tag, until });
    }

    /// The users changed.
    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }

    fn tag(&self, name: &Name, verifier: &Verifier, password: &Password) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // Neither a name nor a hash has a NUL in it.
        context.update(name.as_str().as_bytes());
        context.update(&[0]);
        context.update(verifier.argon2().as_bytes());
        context.update(&[0]);
        context.update(password.as_bytes());
        context.sign()
    }
}

/// From the moment that Argon2id said yes.
const KEPT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_was_right_is_known_and_only_for_a_while() {
        let recent = Recent::new(&Secret::random().unwrap());
        let now = Instant::now();
        let ann = Name::parse("ann").unwrap();
        let bob = Name::parse("bob").unwrap();
        let right = Password::choose("correct horse").unwrap();
        let wrong = Password::choose("correct house").unwrap();
        let verifier = Verifier::make(&right, &[1; 16], false).unwrap();
        let other = Verifier::make(&right, &[2; 16], false).unwrap();
        assert!(!recent.knows(&ann, &verifier, &right, now));
        recent.keep(&ann, &verifier, &right, now);
        let soon = now + KEPT - Duration::from_secs(1);
        assert!(recent.knows(&ann, &verifier, &right, soon));
        assert!(!recent.knows(&ann, &verifier, &wrong, soon));
        assert!(!recent.knows(&bob, &verifier, &right, soon));
        assert!(!recent.knows(&ann, &other, &right, soon), "a new hash");
        assert!(!recent.knows(&ann, &verifier, &right, now + KEPT));
        recent.clear();
        assert!(!recent.knows(&ann, &verifier, &right, now));
    }
}
