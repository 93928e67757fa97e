//! The journal as its owner sees it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::append::{Appended, Backlogged, Completion, Urgency};
use crate::error::{AppendError, Failure, OpenError, ReadError, RemoveError};
use crate::format::{KIND_CHECKPOINT, MAX_GROUP_LEN};
use crate::handles::Handles;
use crate::opening::{self, Opened};
use crate::options::Options;
use crate::position::Position;
use crate::read::{BodyReader, Reading, StoredRecord};
use crate::record::{Group, Record};
use crate::report::{Recovery, ScanReport, ScannedRecord, SegmentInfo};
use crate::scan;
use crate::state::{Append, Checksums, Job, Queue, Shared, Status};
use crate::stats::{Counters, Stats};
use crate::storage::Storage;
use crate::writer::Writer;

/// An append-only log over a directory of segment files. Share it in an `Arc`; dropping it writes and syncs what waits, then ends
/// the writer's thread.
pub struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens or makes the journal in `options.directory`: checks every segment header, recovers the end of the last segment and
    /// begins a new one. Locks nothing: see [`DirLock`](crate::DirLock).
    ///
    /// # Errors
    /// [`OpenError`]: the directory or a segment cannot be read or made, or a segment is of a newer version or of another application.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Self, Recovery), OpenError> {
        let Opened {
            options,
            segments,
            book,
            active,
            recovery,
        } = opening::open(storage, options)?;
        let number = book.active;
        let shared = Arc::new(Shared {
            handles: Handles::new(options.open_segments),
            options,
            segments,
            queue: Mutex::new(Queue::new()),
            work: Condvar::new(),
            room: Condvar::new(),
            book: Mutex::new(book),
            counters: Counters::new(),
            refusals: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let writer = Writer::new(Arc::clone(&shared), number, active);
        let thread = thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Io {
            action: "start the writer of",
            path: shared.segments.dir.clone(),
            source,
        })?;
        Ok((
            Self {
                shared,
                writer: Mutex::new(Some(thread)),
            },
            recovery,
        ))
    }

    /// Appends a group, waiting while the queue before the writer is full (do not call it from an async task: use
    /// [`try_append`](Self::try_append)). The completion is called exactly once, whatever happens.
    pub fn append(
        &self,
        group: impl Into<Group>,
        urgency: Urgency,
        completion: Option<Completion>,
    ) {
        if let Some(append) = accept(group.into(), urgency, completion) {
            self.submit_waiting(append);
        }
    }

    /// Appends a group without waiting, or gives it back if the queue before the writer is full.
    ///
    /// # Errors
    /// [`Backlogged`] with the group: nothing was appended.
    pub fn try_append(
        &self,
        group: impl Into<Group>,
        urgency: Urgency,
        completion: Option<Completion>,
    ) -> Result<(), Backlogged> {
        self.try_append_knowing(u64::MAX, group, urgency, completion)
    }

    /// The same for whoever must not have a group written behind one that a full disk refused: the group is refused as well,
    /// with [`AppendError::Full`], if there has been a refusal since [`refusals`](Self::refusals) said so many.
    ///
    /// # Errors
    /// [`Backlogged`] with the group: nothing was appended.
    pub fn try_append_knowing(
        &self,
        refusals: u64,
        group: impl Into<Group>,
        urgency: Urgency,
        completion: Option<Completion>,
    ) -> Result<(), Backlogged> {
        let Some(mut append) = accept(group.into(), urgency, completion) else {
            return Ok(());
        };
        append.knows = refusals;
        let queue = self.shared.queue.lock();
        if queue.refusal().is_none() && !self.shared.has_room(&queue) {
            return Err(Backlogged {
                group: append.group,
                completion: append.completion,
            });
        }
        self.submit(queue, append);
        Ok(())
    }

    /// How often a full disk has refused groups. Raised right after their completions were called: whoever asks here and then
    /// looks at what these have left behind knows of so many.
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Acquire)
    }

    /// Calls `callback` once, as soon as the queue before the writer has room (at once if it has, or if the journal has failed).
    pub fn on_room(&self, callback: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if queue.refusal().is_none() && !self.shared.has_room(&queue) {
            queue.on_room.push(Box::new(callback));
            return;
        }
        drop(queue);
        callback();
    }

    /// Appends a group and waits until it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: why it is not durable.
    pub fn append_and_wait(&self, group: impl Into<Group>) -> Result<Appended, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let completion: Completion = Box::new(move |result| drop(sender.send(result)));
        self.append(group, Urgency::Now, Some(completion));
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Waits until everything appended so far, riding records included, is durable.
    ///
    /// # Errors
    /// [`AppendError`]: what waits is not known to be durable.
    pub fn sync(&self) -> Result<(), AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.sync_then(move |result| drop(sender.send(result)));
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// The same as [`sync`](Self::sync) with a callback.
    pub fn sync_then(&self, completion: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if let Some(error) = queue.refusal() {
            drop(queue);
            return completion(Err(error));
        }
        if queue.add(Job::Sync(Box::new(completion))) {
            self.shared.work.notify_one();
        }
    }

    /// Appends a checkpoint: the owner has everything before `replay_from` elsewhere, durably. Completed once it is durable.
    pub fn checkpoint(
        &self,
        replay_from: Position,
        payload: impl Into<Bytes>,
        completion: Option<Completion>,
    ) {
        let record = Record::new(KIND_CHECKPOINT, replay_from.pack(), payload);
        if let Some(append) = prepare(record.into(), Urgency::Now, completion, true) {
            self.submit_waiting(append);
        }
    }

    /// Appends a checkpoint and waits until it is durable.
    ///
    /// # Errors
    /// As [`append_and_wait`](Self::append_and_wait).
    pub fn checkpoint_and_wait(
        &self,
        replay_from: Position,
        payload: impl Into<Bytes>,
    ) -> Result<Appended, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.checkpoint(
            replay_from,
            payload,
            Some(Box::new(move |result| drop(sender.send(result)))),
        );
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Ends the active segment (synced) and begins a new one, whose number is returned; does nothing if it holds no record.
    ///
    /// # Errors
    /// [`AppendError`]: the segment could not be ended, or the next one not made.
    pub fn rotate(&self) -> Result<u32, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        {
            let mut queue = self.shared.queue.lock();
            if let Some(error) = queue.refusal() {
                return Err(error);
            }
            let told = move |result| drop(sender.send(result));
            if queue.add(Job::Rotate(Box::new(told))) {
                self.shared.work.notify_one();
            }
        }
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Shows every record from `from` up to what is durable now, in order, without reading bodies, until the visitor breaks.
    /// Damaged bytes are skipped, copied to `quarantine/` and told in the report.
    ///
    /// # Errors
    /// [`ReadError`]: a segment cannot be read; damage is no error.
    pub fn scan(
        &self,
        from: Position,
        mut visitor: impl FnMut(ScannedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ScanReport, ReadError> {
        let mut report = ScanReport::default();
        let (active, durable_end) = self.active_end();
        for segment in self.segments() {
            if segment.number < from.segment || segment.number > active {
                continue;
            }
            let start = Position {
                segment: segment.number,
                offset: 0,
            }
            .max(from);
            let end = if segment.number == active {
                u64::from(durable_end)
            } else {
                segment.bytes
            };
            match self.scan_one(start, end, &mut report, &mut visitor) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                // Removed by its owner while this scan ran; a file that somebody else took away is an error.
                Err(ReadError::SegmentGone(gone)) if !self.knows(gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// The same for one segment.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_segment(
        &self,
        segment: u32,
        mut visitor: impl FnMut(ScannedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ScanReport, ReadError> {
        let mut report = ScanReport::default();
        let (active, durable_end) = self.active_end();
        let known = self.shared.book.lock().segments.get(&segment).copied();
        let len = known.ok_or(ReadError::SegmentGone(segment))?;
        let end = if segment == active {
            u64::from(durable_end)
        } else {
            len
        };
        let _ = self.scan_one(
            Position { segment, offset: 0 },
            end,
            &mut report,
            &mut visitor,
        )?;
        Ok(report)
    }

    /// The whole body at a position, checksum verified.
    ///
    /// # Errors
    /// [`ReadError`]: there is no record at this position, it cannot be read, or it is damaged.
    pub fn read_body(&self, position: Position) -> Result<Bytes, ReadError> {
        self.counted(self.reading(position)?.body())
    }

    /// The body at a position, to be read piece by piece; the checksum is verified when its end is read. Keeps working after the
    /// segment was removed.
    ///
    /// # Errors
    /// As [`read_body`](Self::read_body), but for damage in the body, which its end tells.
    pub fn open_body(&self, position: Position) -> Result<BodyReader, ReadError> {
        self.counted(self.reading(position)?.body_reader())
    }

    /// The whole record at a position.
    ///
    /// # Errors
    /// As [`read_body`](Self::read_body).
    pub fn read_record(&self, position: Position) -> Result<StoredRecord, ReadError> {
        self.counted(self.reading(position)?.record())
    }

    /// All segments, the active one last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let book = self.shared.book.lock();
        book.segments
            .iter()
            .map(|(&number, &bytes)| SegmentInfo { number, bytes })
            .collect()
    }

    /// The segment that is being appended to.
    pub fn active(&self) -> u32 {
        self.shared.book.lock().active
    }

    /// Just behind the last durable record.
    pub fn durable_end(&self) -> Position {
        self.shared.book.lock().durable_end
    }

    /// Removes a segment: unlink, then directory sync. The owner has made sure (appended anew and synced) that nothing in it is
    /// needed; what spoke of it may be forgotten only after this has returned `Ok`.
    ///
    /// # Errors
    /// [`RemoveError`]: it is active or holds the last checkpoint, there is none, or it could not be removed durably.
    pub fn remove_segment(&self, number: u32) -> Result<(), RemoveError> {
        {
            let book = self.shared.book.lock();
            if number == book.active {
                return Err(RemoveError::Active(number));
            }
            if book
                .checkpoint
                .is_some_and(|checkpoint| checkpoint.segment == number)
            {
                return Err(RemoveError::HoldsCheckpoint(number));
            }
            if !book.segments.contains_key(&number) {
                return Err(RemoveError::Unknown(number));
            }
        }
        if let Err(failure) = self.shared.segments.remove(number) {
            return Err(RemoveError::Failed(self.shared.poison(failure)));
        }
        self.shared.book.lock().segments.remove(&number);
        self.shared.handles.forget(number);
        self.shared.counters.segments_removed.fetch_add(1, Relaxed);
        Ok(())
    }

    /// `Err` with the cause once the journal is poisoned; sticky until it is opened anew.
    ///
    /// # Errors
    /// The first failure of a write or a sync.
    pub fn health(&self) -> Result<(), Failure> {
        // Asked several times for each message, and its queue is the writer's too.
        if !self.shared.failed.load(Acquire) {
            return Ok(());
        }
        match &self.shared.queue.lock().status {
            Status::Failed(failure) => Err(failure.clone()),
            Status::Open | Status::Closing => Ok(()),
        }
    }

    /// Poisons the journal for a failure of the owner's own durability (a body file that would not sync).
    pub fn fail(&self, failure: Failure) {
        self.shared.poison(failure);
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.shared.counters.snapshot();
        {
            let queue = self.shared.queue.lock();
            stats.waiting_bytes = queue.bytes;
            stats.waiting_groups = queue.groups;
        }
        let book = self.shared.book.lock();
        stats.segment_bytes = book.segments.values().sum();
        stats.segments = book.segments.len() as u64;
        stats
    }

    /// Writes and syncs what waits and ends the writer; later appends get [`AppendError::Closed`]. Also done when dropped.
    ///
    /// # Errors
    /// [`AppendError`]: what waited is not known to be durable.
    pub fn close(&self) -> Result<(), AppendError> {
        {
            let mut queue = self.shared.queue.lock();
            if matches!(queue.status, Status::Open) {
                queue.status = Status::Closing;
            }
            self.shared.work.notify_all();
            self.shared.room.notify_all();
        }
        let thread = self.writer.lock().take();
        // A completion may hold the last reference: the writer cannot wait for itself.
        if let Some(thread) = thread.filter(|handle| handle.thread().id() != thread::current().id())
        {
            // Its panics are caught and have poisoned the journal.
            let _ = thread.join();
        }
        self.health().map_err(AppendError::Poisoned)
    }

    fn submit_waiting(&self, append: Append) {
        let mut queue = self.shared.queue.lock();
        while queue.refusal().is_none() && !self.shared.has_room(&queue) {
            self.shared.room.wait(&mut queue);
        }
        self.submit(queue, append);
    }

    fn submit(&self, mut queue: parking_lot::MutexGuard<'_, Queue>, append: Append) {
        if let Some(error) = queue.refusal() {
            drop(queue);
            refuse(append.completion, error);
            return;
        }
        queue.bytes += append.bytes;
        queue.groups += 1;
        let wakes = queue.add(Job::Append(append));
        drop(queue);
        if wakes {
            self.shared.work.notify_one();
        }
    }

    fn knows(&self, segment: u32) -> bool {
        self.shared.book.lock().segments.contains_key(&segment)
    }

    /// The active segment and how far it is durable.
    fn active_end(&self) -> (u32, u32) {
        let book = self.shared.book.lock();
        (book.active, book.durable_end.offset)
    }

    fn scan_one(
        &self,
        from: Position,
        end: u64,
        report: &mut ScanReport,
        visitor: &mut dyn FnMut(ScannedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let file = self
            .shared
            .handles
            .get(&self.shared.segments, from.segment)?;
        scan::scan_segment(&self.shared.segments, &file, from, end, report, visitor).map_err(
            |source| ReadError::Io {
                segment: from.segment,
                source,
            },
        )
    }

    fn reading(&self, position: Position) -> Result<Reading<'_>, ReadError> {
        if position >= self.durable_end() {
            return Err(ReadError::PastEnd(position));
        }
        let file = self
            .shared
            .handles
            .get(&self.shared.segments, position.segment)?;
        Ok(Reading {
            segments: &self.shared.segments,
            file,
            position,
        })
    }

    fn counted<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if matches!(result, Err(ReadError::Damaged(..))) {
            self.shared.counters.damaged_bodies.fetch_add(1, Relaxed);
        }
        result
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The cause of a failure was logged when it happened, and every append was told.
        let _ = self.close();
    }
}

/// Checks a group and computes its checksums on the caller's thread. `None` if it was refused, and its completion told.
fn accept(group: Group, urgency: Urgency, completion: Option<Completion>) -> Option<Append> {
    let reserved = group
        .records()
        .map(|record| record.kind)
        .find(|&kind| kind >= Record::FIRST_RESERVED_KIND);
    if let Some(kind) = reserved {
        refuse(completion, AppendError::ReservedKind(kind));
        return None;
    }
    prepare(group, urgency, completion, false)
}

fn prepare(
    group: Group,
    urgency: Urgency,
    completion: Option<Completion>,
    is_checkpoint: bool,
) -> Option<Append> {
    let (bytes, records) = (group.stored_len(), group.len());
    if bytes > MAX_GROUP_LEN || u16::try_from(records).is_err() {
        refuse(completion, AppendError::TooLarge { bytes, records });
        return None;
    }
    let first = checksums(&group.first);
    let rest = group.rest.iter().map(checksums).collect();
    Some(Append {
        group,
        first,
        rest,
        bytes,
        urgency,
        completion,
        is_checkpoint,
        knows: u64::MAX,
    })
}

fn checksums(record: &Record) -> Checksums {
    let mut body = crc32fast::Hasher::new();
    record.body.iter().for_each(|chunk| body.update(chunk));
    Checksums {
        meta: crc32fast::hash(&record.meta),
        body: body.finalize(),
    }
}

fn refuse(completion: Option<Completion>, error: AppendError) {
    if let Some(completion) = completion {
        completion(Err(error));
    }
}
