//! The writer: one thread, one gathered write and one `fdatasync` per batch.
//!
//! As soon as a commit has ended the writer takes all that waits and begins the next if any of it is urgent: there is no timer, and the
//! slower the disk the larger the batches. Riding records alone are written at once if nothing was within
//! [`Options::riding_write_within`](crate::Options::riding_write_within), else when that is over, or with the next commit, or, while a sync is under way, as soon as that has ended; then they are synced with the next commit that needs it, or when
//! the oldest unsynced one has waited for [`Options::riding_sync_within`](crate::Options::riding_sync_within).
//!
//! # Room ahead
//!
//! Behind the end of the active segment stand zeros, up to [`Options::zero_ahead`](crate::Options::zero_ahead) bytes of them, written and
//! synced with an earlier commit. A sync of what is written over them changes neither the length of the file nor the map of its blocks:
//! one write to the disk instead of two or three, and no commit of the file system's own journal. They are cut off before the next
//! segment is made, when the journal is closed, and by recovery: only the last segment ever ends with zeros.
//!
//! # When the disk fails
//!
//! - A failed `fdatasync`, and a failed write other than *full*, **poisons** the journal until restart. What the kernel did with the
//!   pages is unknown (after a failed fsync Linux marks them clean), so nothing is appended behind the last good sync and nothing is
//!   tried again; every waiting and later append gets the cause. A group that failed so may be found after a restart, whole.
//! - A **full** disk (ENOSPC, EDQUOT) in a *write* is survived, if it can be proved that no trace is left: the segment is cut back to
//!   where the write began, its length is verified, and `fdatasync` succeeds, which also makes the riding records before it durable.
//!   Then the groups of this write, and only they, get [`AppendError::Full`], and with them those behind them whose owner wants
//!   its order kept and could not know of it yet (see [`Journal::try_append_knowing`](crate::Journal::try_append_knowing)): what
//!   is small would otherwise find room where what it follows found none. If any of the three fails the journal is poisoned.
//!   The same holds while a segment is made: if it can be unlinked again and the directory synced, the group gets `Full` and the old
//!   segment, synced to its end, stays the active one. A full disk reported by `fdatasync` (delayed allocation) poisons.
//! - A panic on this thread poisons.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Instant;

use crate::append::{Appended, Completion, Urgency};
use crate::batch::Batch;
use crate::error::{AppendError, FailedOperation, Failure};
use crate::format::SEGMENT_HEADER_LEN;
use crate::position::Position;
use crate::segment::{CreateError, is_full};
use crate::state::{Append, Job, Shared, Status};
use crate::storage::StorageFile;

/// The writer's own state. It alone writes to segments.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    segment: u32,
    file: Arc<dyn StorageFile>,
    /// End of what was written.
    end: u64,
    /// End of what was synced.
    durable: u64,
    /// End of the file: behind `end` it holds zeros.
    zeroed: u64,
    batch: Batch,
    /// Written, not yet synced.
    unsynced: Vec<Written>,
    unsynced_bytes: u64,
    sync_by: Option<Instant>,
    /// Riding records alone are not written before.
    pause: Option<Instant>,
    /// The last time that the disk was full.
    full: Option<AppendError>,
    failed: Option<Failure>,
}

struct Written {
    appended: Appended,
    completion: Option<Completion>,
    is_checkpoint: bool,
}

impl Writer {
    /// Goes on behind the header of a new, empty segment.
    pub(crate) fn new(shared: Arc<Shared>, segment: u32, file: Arc<dyn StorageFile>) -> Self {
        let end = SEGMENT_HEADER_LEN as u64;
        Self {
            shared,
            segment,
            file,
            end,
            durable: end,
            zeroed: end,
            batch: Batch::new(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            sync_by: None,
            pause: None,
            full: None,
            failed: None,
        }
    }

    /// The thread: until the journal is closed or has failed.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            let error = io::Error::other("the journal's writer panicked");
            let failure = shared.poison(Failure::new(
                FailedOperation::Owner,
                &shared.segments.dir,
                error,
            ));
            self.failed = Some(failure);
            self.fail_waiting();
        }
    }

    fn work(&mut self) {
        while let Some(jobs) = self.wait() {
            self.commit(jobs);
        }
        self.sync();
        self.trim();
        self.fail_waiting();
    }

    /// All that waits, or nothing if only the sync of riding records is due; `None` at the end.
    fn wait(&mut self) -> Option<Vec<Job>> {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue.lock();
        // Until then riding records come without waking this thread.
        let mut pause = self.pause.take().filter(|&end| end > Instant::now());
        loop {
            if let Status::Failed(failure) = &queue.status {
                self.failed.get_or_insert_with(|| failure.clone());
                return None;
            }
            let closing = matches!(queue.status, Status::Closing);
            let something = !queue.jobs.is_empty();
            if something && (queue.urgent || closing || pause.is_none()) {
                return Some(queue.take_jobs());
            }
            if closing {
                return None;
            }
            let until = match (pause, self.sync_by) {
                (Some(pause), Some(due)) => Some(pause.min(due)),
                (one, other) => one.or(other),
            };
            // Only now whoever brings anything has to wake it.
            queue.asleep = pause.is_none();
            let timed_out = match until {
                Some(until) => shared.work.wait_until(&mut queue, until).timed_out(),
                None => {
                    shared.work.wait(&mut queue);
                    false
                }
            };
            queue.asleep = false;
            if timed_out {
                if self.sync_by.is_some_and(|due| Instant::now() >= due) {
                    return Some(queue.take_jobs());
                }
                pause = None;
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let (mut bytes, mut groups) = (0, 0);
        let mut sync_now = false;
        let mut syncs = Vec::new();
        for job in jobs {
            match job {
                Job::Append(append) => {
                    sync_now |= append.urgency == Urgency::Now;
                    bytes += append.bytes;
                    groups += 1;
                    self.add(append);
                }
                Job::Sync(completion) => syncs.push(completion),
                Job::Rotate(completion) => {
                    let result = self.rotate();
                    call(|| completion(result));
                }
            }
        }
        self.write();
        // Their memory is free; while the sync runs the next batch gathers, up to the limit.
        self.give_room(bytes, groups);
        let due = self.sync_by.is_some_and(|due| Instant::now() >= due);
        if sync_now || due || !syncs.is_empty() {
            self.sync();
        }
        let result = self
            .failed
            .clone()
            .map_or(Ok(()), |failure| Err(AppendError::Poisoned(failure)));
        for completion in syncs {
            let result = result.clone();
            call(|| completion(result));
        }
    }

    fn add(&mut self, append: Append) {
        let behind = self.end + self.batch.bytes;
        let fits = behind + append.bytes <= self.shared.options.segment_size
            || behind == SEGMENT_HEADER_LEN as u64;
        if !fits
            && self.overtaken(&append).is_none()
            && let Err(error) = self.rotate()
        {
            complete(append.completion, Err(error.clone()));
            self.note_refusal(error);
            return;
        }
        // Also by what the rotation wrote first.
        if let Some(error) = self.overtaken(&append) {
            self.shared.counters.refused_full.fetch_add(1, Relaxed);
            complete(append.completion, Err(error));
            return;
        }
        // Where it stands is known only now: what waited before it may just have been refused.
        let start = Position {
            segment: self.segment,
            offset: (self.end + self.batch.bytes) as u32,
        };
        self.batch.push(append, start, self.durable as u32);
    }

    /// Why a group must not be written: one before it was refused, and its owner did not know.
    fn overtaken(&self, append: &Append) -> Option<AppendError> {
        let known = append.knows >= self.shared.refusals.load(Relaxed);
        self.full.as_ref().filter(|_| !known).cloned()
    }

    /// After the completions of what was refused.
    fn note_refusal(&mut self, error: AppendError) {
        if matches!(error, AppendError::Full(_)) {
            self.full = Some(error);
            self.shared.refusals.fetch_add(1, Release);
        }
    }

    /// Ends the active segment and begins the next; nothing to do if it is empty.
    fn rotate(&mut self) -> Result<u32, AppendError> {
        self.write();
        self.sync();
        if let Some(failure) = &self.failed {
            return Err(AppendError::Poisoned(failure.clone()));
        }
        if self.end == SEGMENT_HEADER_LEN as u64 {
            return Ok(self.segment);
        }
        self.trim();
        if let Some(failure) = &self.failed {
            return Err(AppendError::Poisoned(failure.clone()));
        }
        let checkpoint = self.shared.book.lock().checkpoint;
        let next = self.segment.saturating_add(1);
        match self.shared.segments.create(next, checkpoint) {
            Ok(file) => self.file = file,
            Err(CreateError::Full(failure)) => {
                self.shared.counters.refused_full.fetch_add(1, Relaxed);
                return Err(AppendError::Full(failure));
            }
            Err(CreateError::Failed(failure)) => {
                return Err(AppendError::Poisoned(self.poison(failure)));
            }
        }
        self.segment = next;
        self.end = SEGMENT_HEADER_LEN as u64;
        self.durable = self.end;
        self.zeroed = self.end;
        self.shared.counters.segments_created.fetch_add(1, Relaxed);
        let mut book = self.shared.book.lock();
        book.active = next;
        book.segments.insert(next, self.end);
        book.durable_end = Position {
            segment: next,
            offset: self.end as u32,
        };
        Ok(next)
    }

    /// Writes the batch.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(failure) = self.failed.clone() {
            return self.refuse_batch(&AppendError::Poisoned(failure));
        }
        let result = self.batch.write(&*self.file, self.end);
        if let Err(error) = result {
            return self.write_failed(error);
        }
        let bytes = self.batch.bytes;
        self.end += bytes;
        self.unsynced_bytes += bytes;
        self.shared.counters.writes.fetch_add(1, Relaxed);
        self.shared.counters.bytes_written.fetch_add(bytes, Relaxed);
        self.shared
            .book
            .lock()
            .segments
            .insert(self.segment, self.end);
        for (append, appended) in self.batch.take() {
            self.shared
                .counters
                .records
                .fetch_add(append.group.len() as u64, Relaxed);
            self.unsynced.push(Written {
                appended,
                completion: append.completion,
                is_checkpoint: append.is_checkpoint,
            });
        }
        let (now, options) = (Instant::now(), &self.shared.options);
        if self.sync_by.is_none() {
            self.sync_by = now.checked_add(options.riding_sync_within);
        }
        self.pause = now.checked_add(options.riding_write_within);
        self.make_room_ahead();
    }

    /// Puts zeros behind what was just written, if it used up those that were there. They are synced with it.
    fn make_room_ahead(&mut self) {
        if self.end <= self.zeroed {
            return;
        }
        let options = &self.shared.options;
        let until = self
            .end
            .saturating_add(options.zero_ahead)
            .min(options.segment_size);
        self.zeroed = self.end;
        if until <= self.end {
            return;
        }
        let written = write_zeros(&*self.file, self.end..until);
        self.zeroed = until;
        // Zeros are a convenience: on a full disk they make room for mail.
        match written {
            Ok(()) => {}
            Err(error) if is_full(&error) => self.cut(),
            Err(error) => {
                let path = self.shared.segments.path(self.segment);
                self.poison(Failure::new(FailedOperation::Write, path, error));
            }
        }
    }

    /// Cuts zeros off; not synced yet.
    fn cut(&mut self) {
        if self.zeroed > self.end {
            if let Err(error) = self.file.set_len(self.end) {
                let path = self.shared.segments.path(self.segment);
                self.poison(Failure::new(FailedOperation::Truncate, path, error));
            }
            self.zeroed = self.end;
        }
    }

    /// Ends the segment's file where its records end, durably: nothing but the last segment may end with zeros.
    fn trim(&mut self) {
        if self.failed.is_none() && self.zeroed > self.end {
            self.cut();
            if self.failed.is_none() {
                self.sync_file();
            }
        }
    }

    fn write_failed(&mut self, error: io::Error) {
        let path = self.shared.segments.path(self.segment);
        let full = is_full(&error);
        let failure = Failure::new(FailedOperation::Write, &path, error);
        if !full {
            let failure = self.poison(failure);
            return self.refuse_batch(&AppendError::Poisoned(failure));
        }
        let cut = self.file.set_len(self.end).and_then(|()| self.file.len());
        self.zeroed = self.end;
        let error = match cut {
            Ok(len) if len == self.end => {
                // Riding records before this write become durable with the proof; a failure of this sync poisons like any other.
                self.sync_file();
                match &self.failed {
                    None => AppendError::Full(failure),
                    Some(failure) => AppendError::Poisoned(failure.clone()),
                }
            }
            Ok(len) => {
                let error = io::Error::other(format!(
                    "the length is {len} after cutting it to {}",
                    self.end
                ));
                AppendError::Poisoned(self.poison(Failure::new(
                    FailedOperation::Truncate,
                    path,
                    error,
                )))
            }
            Err(error) => AppendError::Poisoned(self.poison(Failure::new(
                FailedOperation::Truncate,
                path,
                error,
            ))),
        };
        if matches!(error, AppendError::Full(_)) {
            self.shared
                .counters
                .refused_full
                .fetch_add(self.batch.appends.len() as u64, Relaxed);
        }
        self.refuse_batch(&error);
        self.note_refusal(error);
    }

    fn refuse_batch(&mut self, error: &AppendError) {
        for (append, _) in self.batch.take() {
            complete(append.completion, Err(error.clone()));
        }
    }

    /// Syncs what was written since the last sync, and completes it.
    fn sync(&mut self) {
        if self.failed.is_none() && self.end > self.durable {
            self.sync_file();
        }
    }

    fn sync_file(&mut self) {
        let begun = Instant::now();
        let result = self.file.sync_data();
        if let Err(error) = result {
            let path = self.shared.segments.path(self.segment);
            self.poison(Failure::new(FailedOperation::Sync, path, error));
            return;
        }
        self.durable = self.end;
        self.sync_by = None;
        let counters = &self.shared.counters;
        counters.sync_seconds.observe_duration(begun.elapsed());
        counters.groups_per_sync.observe(self.unsynced.len() as u64);
        counters.bytes_per_sync.observe(self.unsynced_bytes);
        counters
            .groups
            .fetch_add(self.unsynced.len() as u64, Relaxed);
        self.unsynced_bytes = 0;
        {
            let mut book = self.shared.book.lock();
            book.durable_end = Position {
                segment: self.segment,
                offset: self.end as u32,
            };
            if let Some(last) = self
                .unsynced
                .iter()
                .rev()
                .find(|written| written.is_checkpoint)
            {
                book.checkpoint = Some(last.appended.first());
            }
        }
        for written in self.unsynced.drain(..) {
            complete(written.completion, Ok(written.appended));
        }
    }

    /// From here on nothing is written; what was written and not synced is refused with the cause.
    fn poison(&mut self, failure: Failure) -> Failure {
        let failure = self.shared.poison(failure);
        self.failed = Some(failure.clone());
        for written in self.unsynced.drain(..) {
            complete(
                written.completion,
                Err(AppendError::Poisoned(failure.clone())),
            );
        }
        failure
    }

    fn give_room(&self, bytes: u64, groups: u64) {
        let callbacks = {
            let mut queue = self.shared.queue.lock();
            queue.bytes -= bytes;
            queue.groups -= groups;
            if !self.shared.has_room(&queue) {
                return;
            }
            std::mem::take(&mut queue.on_room)
        };
        self.shared.room.notify_all();
        for callback in callbacks {
            call(callback);
        }
    }

    /// At the end: nobody may be left waiting.
    fn fail_waiting(&mut self) {
        let (jobs, callbacks) = {
            let mut queue = self.shared.queue.lock();
            queue.bytes = 0;
            queue.groups = 0;
            (
                std::mem::take(&mut queue.jobs),
                std::mem::take(&mut queue.on_room),
            )
        };
        self.shared.room.notify_all();
        let error = self
            .failed
            .clone()
            .map_or(AppendError::Closed, AppendError::Poisoned);
        self.refuse_batch(&error);
        for written in self.unsynced.drain(..) {
            complete(written.completion, Err(error.clone()));
        }
        for job in jobs {
            match job {
                Job::Append(append) => complete(append.completion, Err(error.clone())),
                Job::Sync(completion) => call(|| completion(Err(error.clone()))),
                Job::Rotate(completion) => call(|| completion(Err(error.clone()))),
            }
        }
        callbacks.into_iter().for_each(call);
    }
}

fn write_zeros(file: &dyn StorageFile, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let pieces: Vec<IoSlice<'_>> = (0..left.div_ceil(ZEROS.len()).min(ZEROS_AT_ONCE))
            .map(|n| IoSlice::new(&ZEROS[..ZEROS.len().min(left - n * ZEROS.len())]))
            .collect();
        match file.write_vectored_at(&pieces, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => at += written as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn complete(completion: Option<Completion>, result: Result<Appended, AppendError>) {
    if let Some(completion) = completion {
        call(|| completion(result));
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
const ZEROS_AT_ONCE: usize = 64;

/// An owner's callback that panics must not take the others' durability with it.
fn call(callback: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a completion called by the journal panicked");
    }
}
