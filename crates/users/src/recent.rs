//! Passwords that were right a moment ago.
//!
//! Applications log in anew for each mail; Argon2id would cost each time what a guess is meant to
//! cost. So a password that was found right is known again for five minutes, by an HMAC under a key
//! that is random, made at the start, and nowhere but in memory. That is safe because
//!
//! * only a password that was right is ever known again: a wrong one always costs the whole work,
//!   so that guessing is as slow as before, and the quick answer tells only who knows it already
//!   (logins that are held off get no quick answer, and wrong ones are counted);
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
    /// The user's hash that the password was right for.
    argon2: String,
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

    /// Whether this is what was found right within the last minutes. `None`: nothing was.
    pub(crate) fn judge(
        &self,
        name: &Name,
        verifier: &Verifier,
        password: &Password,
        now: Instant,
    ) -> Option<bool> {
        let entries = self.entries.lock();
        let entry = entries.get(name).filter(|entry| now < entry.until)?;
        if entry.argon2 != verifier.argon2() {
            return None;
        }
        let given = self.tag(name, verifier, password);
        let verified =
            aws_lc_rs::constant_time::verify_slices_are_equal(given.as_ref(), entry.tag.as_ref());
        Some(verified.is_ok())
    }

    /// It was just found right.
    pub(crate) fn keep(&self, name: &Name, verifier: &Verifier, password: &Password, now: Instant) {
        let tag = self.tag(name, verifier, password);
        let entry = Entry {
            argon2: verifier.argon2().to_owned(),
            tag,
            until: now + KEPT,
        };
        self.entries.lock().insert(name.clone(), entry);
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
        assert_eq!(recent.judge(&ann, &verifier, &right, now), None);
        recent.keep(&ann, &verifier, &right, now);
        let soon = now + KEPT - Duration::from_secs(1);
        assert_eq!(recent.judge(&ann, &verifier, &right, soon), Some(true));
        assert_eq!(recent.judge(&ann, &verifier, &wrong, soon), Some(false));
        assert_eq!(recent.judge(&bob, &verifier, &right, soon), None);
        assert_eq!(recent.judge(&ann, &other, &right, soon), None, "a new hash");
        assert_eq!(recent.judge(&ann, &verifier, &right, now + KEPT), None);
        recent.clear();
        assert_eq!(recent.judge(&ann, &verifier, &right, now), None);
    }
}
