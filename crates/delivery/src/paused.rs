//! Destinations that an operator has paused: their mail is accepted and waits, also what comes later,
//! until they are resumed. Nothing is given up meanwhile unless the configuration says so; what an
//! operator bounces or cancels goes all the same.
//!
//! The list is a file of its own, a line each, written anew and synced before the command is answered:
//! neither a crash nor the loss of the queue's index forgets it.
//!
//! ```text
//! DATA/delivery/paused    domain TAB since (Unix milliseconds) TAB by TAB reason
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mail_types::{Domain, Host, Timestamp};
use parking_lot::Mutex;

/// The domains that are paused.
pub struct Paused {
    path: Option<PathBuf>,
    list: ArcSwap<BTreeMap<Domain, Pause>>,
    /// One change at a time.
    writing: Mutex<()>,
}

/// Why a domain's mail waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who has paused it.
    pub by: Box<str>,
    /// The reason given.
    pub reason: Box<str>,
}

impl Paused {
    /// Reads the list in `directory`, which is there.
    ///
    /// # Errors
    /// It cannot be read, or says what this version does not understand: rather no start than mail
    /// that somebody has stopped.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("paused");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut list = BTreeMap::new();
        for line in text.lines() {
            let (domain, pause) = read_line(line).ok_or_else(|| {
                let text = format!(
                    "{} has a line that cannot be read: {line:?}",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            list.insert(domain, pause);
        }
        Ok(Self {
            path: Some(path),
            list: ArcSwap::from_pointee(list),
            writing: Mutex::default(),
        })
    }

    /// Nothing is paused, and what will be is forgotten with the process: for tests.
    #[must_use]
    pub fn none() -> Self {
        Self {
            path: None,
            list: ArcSwap::default(),
            writing: Mutex::default(),
        }
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Arc<BTreeMap<Domain, Pause>> {
        self.list.load_full()
    }

    /// Whether mail for this host waits.
    pub(crate) fn is_paused(&self, host: &Host) -> bool {
        let list = self.list.load();
        !list.is_empty() && matches!(host, Host::Domain(d) if list.contains_key(d))
    }

    /// Pauses a domain; durable when this returns. False if it was already.
    pub(crate) fn pause(&self, domain: &Domain, pause: Pause) -> io::Result<bool> {
        self.change(|list| {
            let new = !list.contains_key(domain);
            list.entry(domain.clone()).or_insert(pause);
            new
        })
    }

    /// Resumes a domain; durable when this returns. False if it was not paused.
    pub(crate) fn resume(&self, domain: &Domain) -> io::Result<bool> {
        self.change(|list| list.remove(domain).is_some())
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<Domain, Pause>) -> bool) -> io::Result<bool> {
        let _one = self.writing.lock();
        let mut list = BTreeMap::clone(&self.list.load());
        if !edit(&mut list) {
            return Ok(false);
        }
        if let Some(path) = &self.path {
            let text: String = list.iter().map(line).collect();
            let new = path.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            if let Some(directory) = path.parent() {
                File::open(directory)?.sync_all()?;
            }
        }
        self.list.store(Arc::new(list));
        Ok(true)
    }
}

fn line((domain, pause): (&Domain, &Pause)) -> String {
    let plain = |text: &str| -> String {
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        clean.collect()
    };
    let since = pause.since.as_millis();
    let (by, reason) = (plain(&pause.by), plain(&pause.reason));
    format!("{domain}\t{since}\t{by}\t{reason}\n")
}

fn read_line(line: &str) -> Option<(Domain, Pause)> {
    let mut parts = line.splitn(4, '\t');
    let domain = Domain::parse(parts.next()?).ok()?;
    let pause = Pause {
        since: Timestamp::from_millis(parts.next()?.parse().ok()?),
        by: parts.next()?.into(),
        reason: parts.next()?.into(),
    };
    Some((domain, pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(reason: &str) -> Pause {
        Pause {
            since: Timestamp::from_secs(1_800_000_000),
            by: "uid 0".into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn what_is_paused_stays_so_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let d = Domain::parse("d.test").unwrap();
        let e = Domain::parse("e.test").unwrap();
        let paused = Paused::open(dir.path()).unwrap();
        assert!(paused.pause(&d, pause("they\tmove\nhouse")).unwrap());
        assert!(!paused.pause(&d, pause("again")).unwrap());
        assert!(paused.pause(&e, pause("")).unwrap());
        let paused = Paused::open(dir.path()).unwrap();
        assert!(paused.is_paused(&Host::Domain(d.clone())));
        assert_eq!(*paused.list().get(&d).unwrap().reason, *"they move house");
        assert!(paused.resume(&d).unwrap() && !paused.resume(&d).unwrap());
        let paused = Paused::open(dir.path()).unwrap();
        assert!(!paused.is_paused(&Host::Domain(d)) && paused.is_paused(&Host::Domain(e)));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_empty_list() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("paused"), "d.test\n").unwrap();
        assert!(Paused::open(dir.path()).is_err());
    }
}
