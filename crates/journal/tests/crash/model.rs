//! What an owner knows about its journal, and what must therefore be found after a restart.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use journal::{
    AppendError, Appended, Group, Journal, Options, Position, Record, SimulatedDisk, Storage,
    Urgency,
};

/// A random workload and what is known about each record. Keys are given out in the order of appending.
pub(crate) struct Model {
    pub(crate) disk: SimulatedDisk,
    pub(crate) context: String,
    pub(crate) refused: u32,
    random: Random,
    zero_ahead: u64,
    journal: Option<Journal>,
    entries: BTreeMap<u64, Entry>,
    checkpoints: Vec<(u64, Known)>,
    results: Results,
}

type Results = Arc<Mutex<Vec<(Vec<u64>, Result<Appended, AppendError>)>>>;

#[derive(Clone)]
struct Entry {
    kind: u8,
    meta: Vec<u8>,
    body: Vec<u8>,
    group: u64,
    position: Option<Position>,
    known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A completion said so, or a recovery showed it.
    Durable,
    /// Neither completed nor refused for good, or in a segment whose removal failed.
    Perhaps,
    /// Refused as not written, removed, or not shown by a recovery.
    Gone,
}

impl Model {
    pub(crate) fn new(seed: u64, disk: SimulatedDisk) -> Self {
        let mut model = Self {
            disk: disk.clone(),
            context: format!("seed {seed}"),
            refused: 0,
            random: Random(seed),
            zero_ahead: [0, 100, 900, 1 << 20][seed as usize % 4],
            journal: None,
            entries: BTreeMap::new(),
            checkpoints: Vec::new(),
            results: Results::default(),
        };
        model.try_open(disk);
        model
    }

    pub(crate) fn work(&mut self, steps: u32) {
        for _ in 0..steps {
            let Some(journal) = self.journal.take() else {
                return;
            };
            self.step(&journal);
            self.journal = Some(journal);
        }
        if let Some(journal) = &self.journal {
            let _ = journal.sync();
        }
        self.collect();
    }

    pub(crate) fn healthy(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| journal.health().is_ok())
    }

    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let files = self.disk.list(Path::new(DIR)).unwrap();
        files.iter().map(|file| file.len).sum()
    }

    /// Opens the journal on a disk; if the disk fails there is none.
    pub(crate) fn try_open(&mut self, disk: SimulatedDisk) {
        self.journal = None;
        self.collect();
        self.disk = disk;
        let options = Options {
            segment_size: 1500,
            zero_ahead: self.zero_ahead,
            riding_sync_within: std::time::Duration::from_secs(3600),
            ..Options::new(DIR, *b"model\0\0\0")
        };
        let opened = Journal::open(Arc::new(self.disk.clone()), options);
        self.journal = opened.ok().map(|(journal, recovery)| {
            for damage in &recovery.damage {
                assert!(
                    damage.possibly_unacknowledged,
                    "{}: {damage:?}",
                    self.context
                );
            }
            let found = recovery
                .checkpoint
                .map(|checkpoint| u64::from_le_bytes(checkpoint.payload[..].try_into().unwrap()));
            let durable = self
                .checkpoints
                .iter()
                .filter(|(_, known)| *known == Known::Durable)
                .map(|(n, _)| *n)
                .max();
            assert!(
                found >= durable,
                "{}: checkpoint {found:?} found, {durable:?} was durable",
                self.context
            );
            for (number, known) in &mut self.checkpoints {
                *known = if Some(*number) == found {
                    Known::Durable
                } else {
                    Known::Gone
                };
            }
            journal
        });
    }

    /// Opens the journal, which must succeed, and compares it with what is known; what it shows is durable from then on.
    pub(crate) fn restart(&mut self, disk: SimulatedDisk) {
        self.try_open(disk);
        let journal = self
            .journal
            .as_ref()
            .unwrap_or_else(|| panic!("{}: does not open", self.context));
        let mut shown = Vec::new();
        let report = journal
            .scan(Position::START, |record| {
                assert!(
                    record.group_intact,
                    "{}: half a group: {record:?}",
                    self.context
                );
                shown.push((record.key, record.position));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(report.damage, [], "{}", self.context);
        assert!(
            shown.is_sorted_by(|a, b| a.0 < b.0),
            "{}: twice or out of order: {shown:?}",
            self.context
        );
        let shown: BTreeMap<u64, Position> = shown.into_iter().collect();
        for (key, &position) in &shown {
            let entry = &self.entries[key];
            let stored = journal
                .read_record(position)
                .unwrap_or_else(|error| panic!("{}: {error}", self.context));
            assert_eq!(
                (stored.kind, stored.key),
                (entry.kind, *key),
                "{}",
                self.context
            );
            assert_eq!(stored.meta, entry.meta, "{}: meta of {key}", self.context);
            assert_eq!(stored.body, entry.body, "{}: body of {key}", self.context);
        }
        let mut groups: BTreeMap<u64, bool> = BTreeMap::new();
        for (key, entry) in &mut self.entries {
            let there = shown.get(key).copied();
            match entry.known {
                Known::Durable => assert!(
                    there.is_some(),
                    "{}: {key} was acknowledged and is lost",
                    self.context
                ),
                Known::Gone => assert!(
                    there.is_none(),
                    "{}: {key} was gone and is back",
                    self.context
                ),
                Known::Perhaps => {}
            }
            let present = there.is_some();
            let whole = *groups.entry(entry.group).or_insert(present) == present;
            assert!(
                whole,
                "{}: group {} is there in part",
                self.context, entry.group
            );
            entry.known = if there.is_some() {
                Known::Durable
            } else {
                Known::Gone
            };
            entry.position = there;
        }
    }

    fn step(&mut self, journal: &Journal) {
        match self.random.below(12) {
            0..=4 => {
                let (keys, group) = self.group();
                let result = journal.append_and_wait(group);
                self.learn(&keys, &result);
            }
            5..=7 => {
                let (keys, group) = self.group();
                let results = Arc::clone(&self.results);
                let completion =
                    Box::new(move |result| results.lock().unwrap().push((keys, result)));
                journal.append(group, Urgency::Rides, Some(completion));
            }
            8 => {
                let number = self.checkpoints.len() as u64;
                self.checkpoints.push((number, Known::Perhaps));
                let result =
                    journal.checkpoint_and_wait(Position::START, number.to_le_bytes().to_vec());
                if result.is_ok() {
                    self.checkpoints.last_mut().unwrap().1 = Known::Durable;
                }
            }
            9 => drop(journal.rotate()),
            _ => self.remove_oldest(journal),
        }
        self.collect();
    }

    /// As an owner does: append anew what is still needed, sync, remove.
    fn remove_oldest(&mut self, journal: &Journal) {
        let number = journal.segments()[0].number;
        if number == journal.active() || journal.sync().is_err() {
            return;
        }
        self.collect();
        let in_it: Vec<u64> = self.in_segment(number);
        for key in in_it.iter().filter(|key| *key % 3 == 0) {
            let old = self.entries[key].clone();
            let (new, record) = self.record(old.kind, old.meta, old.body);
            let result = journal.append_and_wait(record);
            self.learn(&[new], &result);
            if result.is_err() {
                return;
            }
        }
        let result = journal.remove_segment(number);
        for key in in_it {
            let known = match result {
                Ok(()) => Known::Gone,
                Err(journal::RemoveError::Failed(_)) => Known::Perhaps,
                Err(_) => continue,
            };
            self.entries.get_mut(&key).unwrap().known = known;
        }
    }

    fn in_segment(&self, number: u32) -> Vec<u64> {
        let stands = |entry: &Entry| {
            entry.known == Known::Durable && entry.position.unwrap().segment == number
        };
        self.entries
            .iter()
            .filter(|(_, entry)| stands(entry))
            .map(|(key, _)| *key)
            .collect()
    }

    fn group(&mut self) -> (Vec<u64>, Group) {
        let (first, record) = self.random_record();
        let mut keys = vec![first];
        let mut group = Group::new(record);
        for _ in 0..[0, 0, 1, 3][self.random.below(4) as usize] {
            let (key, record) = self.random_record();
            self.entries.get_mut(&key).unwrap().group = first;
            keys.push(key);
            group = group.and(record);
        }
        (keys, group)
    }

    fn random_record(&mut self) -> (u64, Record) {
        let meta = self.random.bytes(40);
        let body = if self.random.below(2) == 0 {
            Vec::new()
        } else {
            self.random.bytes(1200)
        };
        let kind = self.random.below(200) as u8;
        self.record(kind, meta, body)
    }

    fn record(&mut self, kind: u8, meta: Vec<u8>, body: Vec<u8>) -> (u64, Record) {
        let key = self.entries.len() as u64;
        let (a, b) = body.split_at(body.len() / 3);
        let chunks = [Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)];
        let record = Record::new(kind, key, meta.clone()).with_body(chunks);
        self.entries.insert(
            key,
            Entry {
                kind,
                meta,
                body,
                group: key,
                position: None,
                known: Known::Perhaps,
            },
        );
        (key, record)
    }

    fn collect(&mut self) {
        let results = std::mem::take(&mut *self.results.lock().unwrap());
        for (keys, result) in results {
            self.learn(&keys, &result);
        }
    }

    fn learn(&mut self, keys: &[u64], result: &Result<Appended, AppendError>) {
        for (index, key) in keys.iter().enumerate() {
            let entry = self.entries.get_mut(key).unwrap();
            match result {
                Ok(appended) => {
                    entry.known = Known::Durable;
                    entry.position = Some(appended.positions()[index]);
                }
                Err(AppendError::Full(_) | AppendError::Closed) => {
                    entry.known = Known::Gone;
                    self.refused += 1;
                }
                Err(_) => entry.known = Known::Perhaps,
            }
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1))
            .map(|_| self.below(256) as u8)
            .collect()
    }
}

const DIR: &str = "/data/journal";
