//! Destinations that an operator has paused: their mail is accepted and waits, also what comes later,
//! until they are resumed. Nothing is given up meanwhile unless the configuration says so; what an
//! operator bounces or cancels goes all the same.
//!
//! The list is a file of its own, written anew and synced before the command is answered: neither a
//! crash nor the loss of the queue's index forgets it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mail_types::{Host, Timestamp};
use parking_lot::Mutex;

use crate::list::{self, DamagedPause, List};

/// The domains that are paused, and hosts of address literals.
pub struct Paused {
    path: Option<PathBuf>,
    list: ArcSwap<List>,
    /// One change at a time.
    writing: Mutex<()>,
    /// Makes a new name in a directory durable.
    sync: fn(&Path) -> io::Result<()>,
}

/// Why pausing or resuming a destination failed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// Nothing has changed.
    #[error("nothing has changed, since the list of paused destinations cannot be written: {0}")]
    NotWritten(io::Error),
    /// It is done, here and for the next start, unless the power fails before the disk has it.
    #[error(
        "it is done, but the disk did not confirm it, so that a power failure may undo it: {0}; \
         see to the disk of server.data-dir and give the command again"
    )]
    NotDurable(io::Error),
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
    /// What is damaged is given too, and kept beside the list in `paused.unreadable`.
    ///
    /// # Errors
    /// The file cannot be read, or the copy not be made.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<DamagedPause>)> {
        let path = directory.join("paused");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (list, damaged) = list::read(&bytes);
        if !damaged.is_empty() {
            let beside = directory.join("paused.unreadable");
            let mut copy = File::options().create(true).append(true).open(beside)?;
            for damaged in &damaged {
                copy.write_all(format!("{}\n", damaged.line).as_bytes())?;
            }
            copy.sync_all()?;
            write(&path, &list)?;
        }
        let paused = Self {
            path: Some(path),
            list: ArcSwap::from_pointee(list),
            writing: Mutex::default(),
            sync: |directory| File::open(directory)?.sync_all(),
        };
        Ok((paused, damaged))
    }

    /// Nothing is paused, and what will be is forgotten with the process: for tests.
    #[must_use]
    pub fn none() -> Self {
        Self {
            path: None,
            list: ArcSwap::default(),
            writing: Mutex::default(),
            sync: |_| Ok(()),
        }
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Arc<List> {
        self.list.load_full()
    }

    /// Whether mail for this host waits.
    pub fn is_paused(&self, host: &Host) -> bool {
        let list = self.list.load();
        list.contains_key(host)
    }

    /// Pauses a host; durable when this returns. False if it was already.
    ///
    /// # Errors
    /// The list cannot be written; what that changed, the error says.
    pub fn pause(&self, host: &Host, pause: Pause) -> Result<bool, PauseError> {
        self.change(|list| {
            let new = !list.contains_key(host);
            list.entry(host.clone()).or_insert(pause);
            new
        })
    }

    /// Resumes a host; durable when this returns. False if it was not paused.
    ///
    /// # Errors
    /// As [`Paused::pause`].
    pub fn resume(&self, host: &Host) -> Result<bool, PauseError> {
        self.change(|list| list.remove(host).is_some())
    }

    fn change(&self, edit: impl FnOnce(&mut List) -> bool) -> Result<bool, PauseError> {
        let _one = self.writing.lock();
        let mut list = List::clone(&self.list.load());
        let changed = edit(&mut list);
        // Said again it is made durable again: the last time may have failed.
        if let Some(path) = &self.path {
            write(path, &list).map_err(PauseError::NotWritten)?;
        }
        // From here on the next start goes by the new list, and so do we.
        self.list.store(Arc::new(list));
        if let Some(directory) = self.path.as_deref().and_then(Path::parent) {
            (self.sync)(directory).map_err(PauseError::NotDurable)?;
        }
        Ok(changed)
    }
}

/// Puts a new list in the place of the old one.
fn write(path: &Path, list: &List) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&list::write(list))?;
    file.sync_all()?;
    fs::rename(&new, path)
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
        let d = Host::parse("d.test").unwrap();
        let e = Host::parse("[IPv6:2001:DB8::1]").unwrap();
        let paused = Paused::open(dir.path()).unwrap().0;
        assert!(paused.pause(&d, pause("they\tmove\nhouse")).unwrap());
        assert!(!paused.pause(&d, pause("again")).unwrap());
        assert!(paused.pause(&e, pause("")).unwrap());
        let paused = Paused::open(dir.path()).unwrap().0;
        assert!(paused.is_paused(&d));
        assert_eq!(*paused.list().get(&d).unwrap().reason, *"they move house");
        assert!(paused.resume(&d).unwrap() && !paused.resume(&d).unwrap());
        let paused = Paused::open(dir.path()).unwrap().0;
        assert!(!paused.is_paused(&d) && paused.is_paused(&e));
    }

    #[test]
    fn a_damaged_list_still_pauses_what_it_names_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let good = "e.test\t1800000000000\tuid 0\twhy\n";
        let damaged = format!("d.test\tx\n{good}j\u{fffd}nk \u{1}\n");
        fs::write(dir.path().join("paused"), damaged).unwrap();
        let (paused, damaged) = Paused::open(dir.path()).unwrap();
        for domain in ["d.test", "e.test"] {
            assert!(paused.is_paused(&Host::parse(domain).unwrap()));
        }
        assert_eq!(damaged.len(), 1);
        assert_eq!(damaged[0].line, "j\u{fffd}nk \u{1}");
        let copy = fs::read_to_string(dir.path().join("paused.unreadable")).unwrap();
        assert_eq!(copy, "j\u{fffd}nk \u{1}\n");
        assert_eq!(
            *paused
                .list()
                .get(&Host::parse("e.test").unwrap())
                .unwrap()
                .reason,
            *"why"
        );
    }

    #[test]
    fn what_the_disk_does_not_confirm_is_done_all_the_same_and_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::parse("d.test").unwrap();
        let paused = Paused {
            sync: |_| Err(io::Error::other("no such luck")),
            ..Paused::open(dir.path()).unwrap().0
        };
        let told = paused.pause(&host, pause("")).unwrap_err();
        assert!(matches!(told, PauseError::NotDurable(_)), "{told:?}");
        let next_start = |paused: bool| {
            assert_eq!(
                Paused::open(dir.path()).unwrap().0.is_paused(&host),
                paused,
                "as the next start will have it"
            );
        };
        assert!(paused.is_paused(&host));
        next_start(true);
        assert!(paused.resume(&host).is_err() && !paused.is_paused(&host));
        next_start(false);
        // What cannot be written at all changes nothing.
        fs::create_dir(dir.path().join("paused.new")).unwrap();
        let told = paused.pause(&host, pause("")).unwrap_err();
        assert!(matches!(told, PauseError::NotWritten(_)), "{told:?}");
        assert!(!paused.is_paused(&host));
        next_start(false);
    }
}
