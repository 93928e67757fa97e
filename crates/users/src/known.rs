//! Who has logged in from where within the last week.
//!
//! The file `DATA/known-logins` keeps it over a restart: otherwise whoever is guessed at would be a stranger to
//! the new process, and held off with those who guess. A line has the keyed hash of user and address, and the
//! second of the last login; without `DATA/auth-secret` nobody finds out from it who that is, and who may read
//! both may read more than that. It is written now and then, never for a login, and is a hint only: it is
//! not synced, and what cannot be read is passed over.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Secret;

/// Of a user and an address.
type Tag = [u8; 16];

#[derive(Debug)]
pub(crate) struct Known {
    key: hmac::Key,
    logins: Mutex<Logins>,
}

#[derive(Debug, Default)]
struct Logins {
    last: HashMap<Tag, Login>,
    /// The file is out of date.
    changed: bool,
    /// When it was last written.
    written: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Login {
    noted: Instant,
    /// How long before that it was: what the file has may be older than this machine's clock.
    before: Duration,
}

impl Login {
    fn age(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.noted) + self.before
    }
}

impl Known {
    pub(crate) fn new(secret: &Secret) -> Self {
        // The secret itself makes the salts of users that do not exist.
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.octets());
        let own = hmac::sign(&secret, b"known logins");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()),
            logins: Mutex::default(),
        }
    }

    pub(crate) fn has(&self, address: IpAddr, user: &str, now: Instant) -> bool {
        let tag = self.tag(address, user);
        let last = self.logins.lock().last.get(&tag).copied();
        last.is_some_and(|login| login.age(now) < REMEMBERED)
    }

    pub(crate) fn note(&self, address: IpAddr, user: &str, now: Instant) {
        let tag = self.tag(address, user);
        let mut logins = self.logins.lock();
        let before = logins.insert(tag, now, Duration::ZERO);
        let is_old = |at: Instant| now.saturating_duration_since(at) > WORTH_WRITING;
        // An application logs in all the time: what the file has of it is too old once the file is.
        logins.changed |= before.is_none_or(|login| login.age(now) > WORTH_WRITING)
            || logins.written.is_none_or(is_old);
    }

    /// What an earlier process has written; `wall`: Unix seconds.
    pub(crate) fn read(&self, data_dir: &Path, now: Instant, wall: u64) {
        let text = fs::read_to_string(data_dir.join(FILE)).unwrap_or_default();
        let mut logins = self.logins.lock();
        for line in text.lines().take(LARGEST) {
            let Some((tag, at)) = line.split_once(' ') else {
                continue;
            };
            let tag = HEXLOWER.decode(tag.as_bytes()).ok();
            let tag = tag.and_then(|tag| Tag::try_from(tag).ok());
            if let (Some(tag), Ok(at)) = (tag, at.parse::<u64>()) {
                // A clock that was set back makes nobody older than they are.
                let age = Duration::from_secs(wall.saturating_sub(at));
                if age < REMEMBERED {
                    logins.insert(tag, now, age);
                }
            }
        }
    }

    /// Writes it down, if there is anything new.
    ///
    /// # Errors
    /// It cannot be written; the next call tries again.
    pub(crate) fn write(&self, data_dir: &Path, now: Instant, wall: u64) -> io::Result<()> {
        let text = {
            let mut logins = self.logins.lock();
            if !std::mem::take(&mut logins.changed) {
                return Ok(());
            }
            logins.text(now, wall)
        };
        let written = replace(data_dir, text.as_bytes());
        let mut logins = self.logins.lock();
        match written {
            Ok(()) => logins.written = Some(now),
            Err(_) => logins.changed = true,
        }
        drop(logins);
        written
    }

    fn tag(&self, address: IpAddr, user: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The address has no blank in it.
        context.update(address.to_string().as_bytes());
        context.update(b" ");
        context.update(user.as_bytes());
        let mut tag = Tag::default();
        let whole = context.sign();
        for (octet, of_whole) in tag.iter_mut().zip(whole.as_ref()) {
            *octet = *of_whole;
        }
        tag
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.logins.lock().last.len()
    }
}

impl Logins {
    /// In a full book the login that is longest ago is forgotten.
    fn insert(&mut self, tag: Tag, now: Instant, before: Duration) -> Option<Login> {
        if self.last.len() >= LARGEST && !self.last.contains_key(&tag) {
            let oldest = self.last.iter().max_by_key(|(_, login)| login.age(now));
            if let Some(oldest) = oldest.map(|(tag, _)| *tag) {
                self.last.remove(&oldest);
            }
        }
        let noted = now;
        self.last.insert(tag, Login { noted, before })
    }

    fn text(&self, now: Instant, wall: u64) -> String {
        let mut text = String::new();
        for (tag, login) in &self.last {
            let age = login.age(now);
            if age < REMEMBERED {
                let at = wall.saturating_sub(age.as_secs());
                // Writing to a string does not fail.
                let _ = writeln!(text, "{} {at}", HEXLOWER.encode(tag));
            }
        }
        text
    }
}

fn replace(data_dir: &Path, text: &[u8]) -> io::Result<()> {
    let new = data_dir.join(NEW);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(text)?;
    fs::rename(new, data_dir.join(FILE))
}

/// How long a login from an address is remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);
/// A login so long after the last one is worth writing down.
const WORTH_WRITING: Duration = Duration::from_secs(3600);
/// Logins, and lines of the file.
pub(crate) const LARGEST: usize = 8192;
const FILE: &str = "known-logins";
const NEW: &str = "known-logins.new";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const WALL: u64 = 1_800_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn g2_11_who_is_known_is_known_after_a_restart_for_the_same_week() {
        let dir = tempfile::tempdir().unwrap();
        let secret = Secret::open(dir.path()).unwrap();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let now = Instant::now();
        let first = Known::new(&secret);
        first.note(address, "ann", now);
        let later = now + HOUR;
        first.write(dir.path(), later, WALL).unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with(&format!(" {}\n", WALL - 3600)), "{text}");
        assert!(!text.contains("ann") && !text.contains("192"), "{text}");
        // Nothing new: it is not written again.
        fs::write(&file, format!("{text}x y\n{text}\nno line\n00 1\n")).unwrap();
        first.note(address, "ann", now);
        first.write(dir.path(), later, WALL).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("no line"));

        let read = |secret: &Secret, wall| {
            let known = Known::new(secret);
            known.read(dir.path(), now, wall);
            known
        };
        let second = read(&secret, WALL);
        assert_eq!(second.len(), 1);
        assert!(second.has(address, "ann", now));
        assert!(!second.has(address, "bob", now));
        assert!(!second.has("192.0.2.8".parse().unwrap(), "ann", now));
        assert!(second.has(address, "ann", now + REMEMBERED - 2 * HOUR));
        assert!(!second.has(address, "ann", now + REMEMBERED - HOUR));
        assert!(!read(&secret, WALL + 7 * 24 * 3600).has(address, "ann", now));
        // A clock that was set back, and another installation.
        assert!(read(&secret, WALL - 86_400).has(address, "ann", now));
        assert!(!read(&Secret::random().unwrap(), WALL).has(address, "ann", now));
    }

    /// An application is not to be a stranger because it was there all the time.
    #[tokio::test]
    async fn g2_11_who_logs_in_all_the_time_is_written_down_again() {
        let dir = tempfile::tempdir().unwrap();
        let secret = Secret::open(dir.path()).unwrap();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let (start, known) = (Instant::now(), Known::new(&secret));
        for half_hours in 0..400 {
            let now = start + HOUR / 2 * half_hours;
            known.note(address, "ann", now);
            let wall = WALL + u64::from(half_hours) * 1800;
            known.write(dir.path(), now, wall).unwrap();
        }
        let again = Known::new(&secret);
        again.read(dir.path(), start, WALL + 400 * 1800);
        assert!(again.has(address, "ann", start + REMEMBERED - 2 * HOUR));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::new(&Secret::random().unwrap());
        let now = Instant::now();
        known.note("::1".parse().unwrap(), "ann", now);
        assert!(known.write(&dir.path().join("gone"), now, WALL).is_err());
        known.write(dir.path(), now, WALL).unwrap();
        assert!(dir.path().join(FILE).exists());
    }
}
