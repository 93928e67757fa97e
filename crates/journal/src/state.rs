//! What the journal, its writer and its readers share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::append::{Completion, Urgency};
use crate::error::{AppendError, Failure};
use crate::handles::Handles;
use crate::options::Options;
use crate::position::Position;
use crate::record::Group;
use crate::segment::SegmentDir;
use crate::stats::Counters;

/// Shared by everyone who holds the journal. Lock order: queue before book; neither is held over a disk operation or a callback.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) segments: SegmentDir,
    pub(crate) queue: Mutex<Queue>,
    /// The writer waits here for work.
    pub(crate) work: Condvar,
    /// Appenders wait here for room.
    pub(crate) room: Condvar,
    pub(crate) book: Mutex<Book>,
    pub(crate) handles: Handles,
    pub(crate) counters: Counters,
    /// How often a full disk has refused groups; only the writer raises it.
    pub(crate) refusals: AtomicU64,
    /// The journal is poisoned: known without waiting for the queue's mutex. Set after its status.
    pub(crate) failed: AtomicBool,
}

/// What waits for the writer.
pub(crate) struct Queue {
    pub(crate) jobs: Vec<Job>,
    /// Not all of them can wait for company.
    pub(crate) urgent: bool,
    /// The writer waits without a limit: even a riding record has to wake it.
    pub(crate) asleep: bool,
    /// Bytes of appends in `jobs` and in the writer's hands.
    pub(crate) bytes: u64,
    /// The same in groups.
    pub(crate) groups: u64,
    pub(crate) on_room: Vec<Box<dyn FnOnce() + Send>>,
    pub(crate) status: Status,
}

/// Whether appends are taken.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    Open,
    Closing,
    Failed(Failure),
}

/// One thing for the writer to do, in order.
pub(crate) enum Job {
    Append(Append),
    Sync(Box<dyn FnOnce(Result<(), AppendError>) + Send>),
    Rotate(Box<dyn FnOnce(Result<u32, AppendError>) + Send>),
}

/// A group on its way, checksums computed by whoever appends it.
pub(crate) struct Append {
    pub(crate) group: Group,
    pub(crate) first: Checksums,
    pub(crate) rest: Vec<Checksums>,
    pub(crate) bytes: u64,
    pub(crate) urgency: Urgency,
    pub(crate) completion: Option<Completion>,
    pub(crate) is_checkpoint: bool,
    /// Refused if the disk has refused more often than that.
    pub(crate) knows: u64,
}

/// Of one record.
#[derive(Clone, Copy)]
pub(crate) struct Checksums {
    pub(crate) meta: u32,
    pub(crate) body: u32,
}

/// What is on disk.
pub(crate) struct Book {
    /// Bytes by segment number, the active one included.
    pub(crate) segments: BTreeMap<u32, u64>,
    pub(crate) active: u32,
    /// Just behind the last synced record; always in the active segment.
    pub(crate) durable_end: Position,
    pub(crate) checkpoint: Option<Position>,
}

impl Append {
    /// In the order of the group's records.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = &Checksums> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            jobs: Vec::new(),
            urgent: false,
            asleep: false,
            bytes: 0,
            groups: 0,
            on_room: Vec::new(),
            status: Status::Open,
        }
    }

    /// Adds a job. True if the writer has to be woken for it.
    #[must_use]
    pub(crate) fn add(&mut self, job: Job) -> bool {
        let rides = matches!(&job, Job::Append(append) if append.urgency == Urgency::Rides);
        self.jobs.push(job);
        self.urgent |= !rides;
        // As long as it is awake it looks by itself before it sleeps.
        !rides || self.asleep
    }

    /// Everything, in order.
    pub(crate) fn take_jobs(&mut self) -> Vec<Job> {
        self.urgent = false;
        std::mem::take(&mut self.jobs)
    }

    /// Why nothing can be appended, if so.
    pub(crate) fn refusal(&self) -> Option<AppendError> {
        match &self.status {
            Status::Open => None,
            Status::Closing => Some(AppendError::Closed),
            Status::Failed(failure) => Some(AppendError::Poisoned(failure.clone())),
        }
    }
}

impl Shared {
    /// One more group may wait, whatever its size, as long as the limit is not reached: so the largest group always finds room.
    pub(crate) fn has_room(&self, queue: &Queue) -> bool {
        queue.bytes < self.options.max_waiting_bytes
    }

    /// Makes a failure everybody's, for good. Wakes the writer and whoever waits for room. The first cause stays.
    pub(crate) fn poison(&self, failure: Failure) -> Failure {
        let (first, callbacks) = {
            let mut queue = self.queue.lock();
            if let Status::Failed(first) = &queue.status {
                return first.clone();
            }
            tracing::error!(%failure, "the journal takes no more records until restart");
            queue.status = Status::Failed(failure.clone());
            self.failed.store(true, Ordering::Release);
            (failure, std::mem::take(&mut queue.on_room))
        };
        self.work.notify_all();
        self.room.notify_all();
        callbacks.into_iter().for_each(|callback| callback());
        first
    }
}
