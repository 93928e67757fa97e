//! A disk in memory that loses power, fails and fills up when a test says so.
//!
//! It forgets what a real one may forget, and no more: bytes that were not synced, sector by sector or from some byte on; names
//! that were not synced, in the order in which they were made; after a failed sync the bytes stay readable, count as clean, and are
//! lost with the power. Directories themselves are durable at once. Every choice comes from the seed.
//!
//! Several threads may use it; every operation, a power cut included, happens wholly before or wholly after every other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::replace::parent;
use crate::storage::{DirEntry, Storage, StorageFile};

/// A disk for tests; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: u64,
    files: BTreeMap<u64, File>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since their directory was synced: the directory, then what each name became.
    renames: Vec<(PathBuf, NameChange)>,
    directories: BTreeSet<PathBuf>,
    operations: u64,
    fail_at: Option<(u64, i32)>,
    off_at: Option<u64>,
    off: bool,
    capacity: Option<u64>,
}

/// What names became of one operation: a file's number, or nothing.
type NameChange = Vec<(PathBuf, Option<u64>)>;

#[derive(Clone, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Bytes that cannot be read.
    bad: Range<u64>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renames: Vec::new(),
            directories: BTreeSet::new(),
            operations: 0,
            fail_at: None,
            off_at: None,
            off: false,
            capacity: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Operations so far that change or sync something.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Fails the n-th operation (from 1) with an errno; a write is done in part before.
    pub fn fail_at(&self, operation: u64, errno: i32) {
        self.state.lock().fail_at = Some((operation, errno));
    }

    /// Takes the power away in the n-th operation: it and everything after it fails.
    pub fn power_off_at(&self, operation: u64) {
        self.state.lock().off_at = Some(operation);
    }

    /// Bytes that fit on the disk; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes that are left on the disk from now on; `None` for no limit.
    pub fn set_free(&self, bytes: Option<u64>) {
        let mut state = self.state.lock();
        let used: usize = state.files.values().map(|file| file.current.len()).sum();
        state.capacity = bytes.map(|bytes| used as u64 + bytes);
    }

    /// Makes bytes of a file unreadable: whoever reads one of them gets EIO.
    pub fn set_unreadable(&self, path: &Path, bytes: Range<u64>) {
        let mut state = self.state.lock();
        let number = state.names.get(path).copied();
        if let Some(file) = number.and_then(|number| state.files.get_mut(&number)) {
            file.bad = bytes;
        }
    }

    /// The disk as it is after the power came back. This one is off for ever.
    pub fn power_cut(&self) -> Self {
        let mut state = self.state.lock();
        state.off = true;
        let after = Self::new(state.next());
        let mut new = after.state.lock();
        let mut names = state.durable_names.clone();
        for directory in state.directories.clone() {
            let changes: Vec<_> = state
                .renames
                .iter()
                .filter(|(of, _)| *of == directory)
                .cloned()
                .collect();
            let kept = state.below(changes.len() as u64 + 1) as usize;
            changes
                .into_iter()
                .take(kept)
                .for_each(|(_, change)| apply(&mut names, change));
        }
        for &file in names.values() {
            if let Some(mut content) = state.files.get(&file).cloned() {
                content.lose_power(&mut state);
                new.files.insert(file, content);
            }
        }
        new.directories = state.directories.clone();
        new.durable_names = names.clone();
        new.names = names;
        drop(new);
        after
    }

    /// Bytes of a file, as a program would read them.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state
            .files
            .get(state.names.get(path)?)
            .map(|file| file.current.clone())
    }

    /// Puts bytes in a file, durably, without counting as an operation: for damage.
    pub fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let number = state.names.get(path).copied();
        if let Some(file) = number.and_then(|number| state.files.get_mut(&number)) {
            *file = File {
                current: bytes.clone(),
                durable: bytes,
                ..File::default()
            };
        }
    }

    fn file(&self, number: u64) -> Arc<dyn StorageFile> {
        Arc::new(SimulatedFile {
            state: Arc::clone(&self.state),
            number,
        })
    }
}

impl Storage for SimulatedDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        state
            .directories
            .extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        // One lock for all of it: a power cut from another thread must not find the name without the file.
        let mut state = self.state.lock();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.directories.contains(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let number = state.files.keys().next_back().map_or(1, |last| last + 1);
        state.change(parent(path), vec![(path.to_owned(), Some(number))])?;
        state.files.insert(number, File::default());
        Ok(self.file(number))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let state = self.state.lock();
        state.power()?;
        let number = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(number))
    }

    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let number = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(
            parent(to),
            vec![(from.to_owned(), None), (to.to_owned(), Some(number))],
        )
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(parent(path), vec![(path.to_owned(), None)])
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.power()?;
        let mut entries = Vec::new();
        for (path, number) in state.names.iter().filter(|(path, _)| parent(path) == dir) {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let len = state
                .files
                .get(number)
                .map_or(0, |file| file.current.len() as u64);
            entries.push(DirEntry {
                path: path.clone(),
                name,
                len,
            });
        }
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        for (of, change) in std::mem::take(&mut state.renames) {
            if of == dir {
                apply(&mut state.durable_names, change);
            } else {
                state.renames.push((of, change));
            }
        }
        Ok(())
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl SimulatedFile {
    fn with<T>(&self, state: &mut State, change: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        state
            .files
            .get_mut(&self.number)
            .map(change)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl StorageFile for SimulatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.power()?;
        self.with(&mut state, |file| {
            let rest = file.current.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(buf.len());
            if offset < file.bad.end && file.bad.start < offset + read as u64 {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            buf[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })?
    }

    fn write_vectored_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        let mut state = self.state.lock();
        state.power()?;
        let result = state.operation();
        // A failed write has written something, or nothing; a successful one may be short.
        let shortened = result.is_err() || state.below(8) == 0;
        let mut len = if shortened {
            state.below(bytes.len() as u64 + 1) as usize
        } else {
            bytes.len()
        };
        if result.is_ok() && !bytes.is_empty() {
            len = len.max(1);
        }
        if let Some(capacity) = state.capacity {
            let used: u64 = state
                .files
                .values()
                .map(|file| file.current.len() as u64)
                .sum();
            let this = state
                .files
                .get(&self.number)
                .map_or(0, |file| file.current.len() as u64);
            let room = (capacity.saturating_sub(used) + this).saturating_sub(offset);
            len = len.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
        self.with(&mut state, |file| {
            file.write(&bytes[..len], offset as usize)
        })?;
        result?;
        if len == 0 && !bytes.is_empty() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.power()?;
        self.with(&mut state, |file| file.current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation()?;
        self.with(&mut state, |file| {
            file.current.resize(len as usize, 0);
            file.dirty.insert(file.current.len() / SECTOR);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let result = state.operation();
        let luck = state.next();
        self.with(&mut state, |file| match &result {
            Ok(()) => file.persist(|_| true),
            // Reported once; then the pages count as clean, whichever of them the disk has.
            Err(_) => file.persist(|sector| luck >> (sector % 64) & 1 == 1),
        })?;
        result
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl State {
    fn power(&self) -> io::Result<()> {
        if self.off {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    fn operation(&mut self) -> io::Result<()> {
        self.power()?;
        self.operations += 1;
        if self.off_at == Some(self.operations) {
            self.off = true;
            return self.power();
        }
        match self.fail_at {
            Some((at, errno)) if at == self.operations => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    /// Names become something else: visible at once, durable once `dir` is synced.
    fn change(&mut self, dir: &Path, change: NameChange) -> io::Result<()> {
        self.operation()?;
        apply(&mut self.names, change.clone());
        self.renames.push((dir.to_owned(), change));
        Ok(())
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl File {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..=(end - 1) / SECTOR);
    }

    /// Brings the dirty sectors that `keep` chooses to the disk, and the length.
    fn persist(&mut self, mut keep: impl FnMut(usize) -> bool) {
        if !self.dirty.is_empty() {
            self.durable.resize(self.current.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.current.len());
            if start < end && keep(sector) {
                self.durable[start..end].copy_from_slice(&self.current[start..end]);
            }
        }
    }

    fn lose_power(&mut self, state: &mut State) {
        match state.below(4) {
            // Nothing that was not synced.
            0 => {}
            // Everything.
            1 => self.persist(|_| true),
            // Any sectors.
            2 => self.persist(|_| state.below(2) == 0),
            // Everything up to some byte.
            _ => {
                let before = self.durable.len();
                self.persist(|_| true);
                let grown = self.durable.len().saturating_sub(before);
                let lost = state.below(grown as u64 + 1) as usize;
                self.durable.truncate(self.durable.len() - lost);
            }
        }
        self.current = self.durable.clone();
        self.dirty.clear();
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: NameChange) {
    for (path, file) in change {
        match file {
            Some(file) => names.insert(path, file),
            None => names.remove(&path),
        };
    }
}

const SECTOR: usize = 512;
const EIO: i32 = 5;
