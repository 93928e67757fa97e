//! Opening: format, journal, index, replay; rebuilding the index when it is damaged.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use journal::{
    Checkpoint, FailedOperation, Failure, FormatError, FormatFile, FormatState, Journal,
    LargeFiles, Options, Position, RealDisk, Recovery, Storage,
};
use leases::Leases;
use mail_types::QueueId;

use super::committer;
use super::compaction;
use super::index::{INDEX, Index, IndexError};
use super::lost::Lost;
use super::options::{EmbeddedOptions, FreeSpaceProbe};
use super::replay::{Replay, load, load_hot};
use super::shared::{Shared, State};
use super::store::EmbeddedStore;
use crate::QueueError;
use crate::core::Core;
use crate::disk::decode_row;

impl EmbeddedStore {
    /// Opens or makes the queue. Blocks until the journal's tail is replayed. What is long goes on
    /// behind, and [`Health::recovering`](crate::Health) says so: reading a large index, and rebuilding a
    /// damaged one.
    ///
    /// # Errors
    /// [`QueueError::NewerFormat`], [`QueueError::Io`].
    pub fn open(options: EmbeddedOptions) -> Result<Self, QueueError> {
        let shared = Arc::new(prepare(options)?);
        let mut threads = vec![
            spawn("queue-index", &shared, committer::run)?,
            spawn("queue-compaction", &shared, compaction::run)?,
        ];
        if shared.lock().recovering {
            threads.push(spawn("queue-recovery", &shared, recover)?);
        } else {
            let last = shared.lock().core.last_id();
            sweep(&shared, last);
        }
        Ok(Self::new(shared, threads))
    }

    /// Gives up the queue's reserve if the disk is too full for a start, unless the directory is not a queue's that
    /// this version knows: nothing is to be touched then. [`open`](Self::open) does both by itself; for whoever opens
    /// other stores on the same disk before it.
    ///
    /// # Errors
    /// [`QueueError::NewerFormat`], [`QueueError::Io`].
    pub fn make_room(directory: &Path, free_space_floor: u64) -> Result<(), QueueError> {
        let disk: Arc<dyn Storage> = Arc::new(RealDisk);
        let format = format_file(directory);
        let checked = format.check_beside(&disk, &directory.join(JOURNAL), APPLICATION);
        let is_damaged = checked.map_err(format_error)? == FormatState::Damaged;
        let probe: FreeSpaceProbe = Arc::new(journal::free_space);
        make_room(directory, free_space_floor, &probe);
        if is_damaged {
            format.write(&*disk).map_err(format_error)?;
        }
        Ok(())
    }
}

/// All of opening but the threads.
pub(super) fn prepare(options: EmbeddedOptions) -> Result<Shared, QueueError> {
    let (storage, directory) = (&*options.storage, &options.directory);
    let io_error = |doing: &str| {
        let doing = format!("{doing} {}", directory.display());
        move |error: io::Error| QueueError::Io {
            doing,
            cause: error.to_string(),
        }
    };
    storage
        .create_dir_all(directory)
        .map_err(io_error("make"))?;
    let format = format_file(directory);
    let checked = format.check_beside(&options.storage, &directory.join(JOURNAL), APPLICATION);
    match checked.map_err(format_error)? {
        FormatState::Current => {}
        FormatState::Absent | FormatState::Older(_) | FormatState::Damaged => {
            format.write(storage).map_err(format_error)?
        }
    }
    let bodies = LargeFiles::open(Arc::clone(&options.storage), directory.join("bodies"))
        .map_err(io_error("open the bodies in"))?;
    let (journal, recovery) = open_journal(&options)?;
    // sled makes its directory, but not those above it on a disk that is not this machine's.
    fs::create_dir_all(directory).map_err(io_error("make"))?;
    let end = journal.durable_end();
    let checkpoint = recovery.checkpoint;
    let mut state = fresh_state(&options, end, checkpoint.as_ref());
    state.tell(&recovery.damage);
    state.lost = Lost::of(&journal);
    let opened = open_index(&options, checkpoint.as_ref(), end, &mut state)
        .and_then(|index| replay_tail(&journal, index, &mut state, checkpoint.as_ref(), &options));
    let index = match opened {
        Ok(index) => Some(index),
        Err(IndexError(cause)) => {
            state.tell_lost();
            let (damaged, told, last) = (state.damaged, state.told, state.core.last_id());
            state = fresh_state(&options, end, checkpoint.as_ref());
            (state.damaged, state.told) = (damaged, told);
            state.core.seen(last);
            begin_rebuild(&journal, &mut state, checkpoint.as_ref(), cause);
            new_index(&options)
        }
    };
    Ok(Shared::new(state, journal, index, bodies, options))
}

/// Gives up the reserve if a start would find too little room.
fn make_room(directory: &Path, floor: u64, free_space: &FreeSpaceProbe) {
    let free = free_space(directory).map_or(u64::MAX, |free| free.bytes);
    if free < START_ROOM.min(floor) && give_up_reserve(directory) {
        tracing::warn!(
            free,
            "gave up the reserve so that the relay can start on a full disk"
        );
    }
}

/// Opens the journal. A start begins segments, here and in the stores that open after the queue: on a
/// full disk the reserve is given up for them.
fn open_journal(options: &EmbeddedOptions) -> Result<(Journal, Recovery), QueueError> {
    make_room(
        &options.directory,
        options.free_space_floor,
        &options.free_space,
    );
    let journal_options = Options {
        segment_size: options.segment_size,
        max_waiting_bytes: options.journal_memory,
        zero_ahead: options.zero_ahead,
        ..Options::new(options.directory.join(JOURNAL), APPLICATION)
    };
    let opened = Journal::open(Arc::clone(&options.storage), journal_options);
    let (journal, recovery) = opened.map_err(|error| QueueError::Io {
        doing: "open the queue's journal".into(),
        cause: error.to_string(),
    })?;
    if let Some(torn) = &recovery.torn_tail {
        tracing::info!(end = %torn.end, bytes = torn.bytes, "cut off what was being written when the relay ended: nobody was told that it is safe");
    }
    Ok((journal, recovery))
}

fn fresh_state(options: &EmbeddedOptions, end: Position, checkpoint: Option<&Checkpoint>) -> State {
    let leases = Leases::new(options.boot, options.lease_time);
    let core = Core::new(Arc::clone(&options.placement), leases, options.tag);
    let mut state = State::new(core, end);
    if let Some(payload) = checkpoint.and_then(|c| <[u8; 8]>::try_from(&c.payload[..]).ok()) {
        state
            .core
            .seen(QueueId::from_raw(u64::from_be_bytes(payload)));
    }
    state
}

/// Opens the index and checks that it belongs to the journal.
fn open_index(
    options: &EmbeddedOptions,
    checkpoint: Option<&Checkpoint>,
    end: Position,
    state: &mut State,
) -> Result<Index, IndexError> {
    let is_new = !options.directory.join(INDEX).exists();
    let free = (options.free_space)(&options.directory).map_or(u64::MAX, |free| free.bytes);
    let short = free < options.free_space_floor && !Index::is_suspect(&options.directory);
    let index = match Index::open(&options.directory, options.index_cache) {
        Ok(index) => index,
        // sled cannot open without some room of its own: that is what the reserve is for.
        Err(error) if short && give_up_reserve(&options.directory) => {
            tracing::warn!(%error, "gave up the reserve so that the index can open");
            Index::clear_suspicion(&options.directory)?;
            Index::open(&options.directory, options.index_cache)?
        }
        Err(error) => return Err(error),
    };
    keep_reserve(options);
    let applied = index.applied()?;
    if let Some(applied) = applied {
        state.lost.applied(applied);
    }
    if state.lost.is_cut() {
        // The checkpoint that said which ids were given is perhaps lost as well.
        index.for_each(QueueId::from_raw(0), usize::MAX, |id, _| {
            state.core.seen(id);
            Ok(())
        })?;
    }
    match (checkpoint, applied) {
        (Some(checkpoint), Some(applied))
            if applied >= checkpoint.replay_from && applied <= end =>
        {
            Ok(index)
        }
        // Without a checkpoint all of the journal is replayed, whatever the index has of it already.
        (None, applied) if applied.is_none_or(|applied| applied <= end) => Ok(index),
        (_, None) if is_new => Err(IndexError("there is none".into())),
        (_, None) => Err(IndexError("it is not complete".into())),
        // What it knows may be newer than what the journal has left: then it is all that is left of that mail.
        (_, Some(_)) if state.lost.is_cut() => Err(keep_lost(options, index, state)),
        (_, Some(_)) => Err(IndexError(
            "it does not belong to the journal's state".into(),
        )),
    }
}

/// Names the messages that only this index knows, and keeps it beside.
fn keep_lost(options: &EmbeddedOptions, index: Index, state: &mut State) -> IndexError {
    let read = index.for_each(QueueId::from_raw(0), usize::MAX, |id, row| {
        let (message, place) = decode_row(row).map_err(|error| IndexError(error.to_string()))?;
        state.lost.look_at(id, &message, &place);
        Ok(())
    });
    if let Err(error) = read {
        tracing::error!(%error, "not all messages can be named that the queue's journal has lost");
    }
    drop(index);
    let kept = state.lost.keep(&options.directory);
    state.tell_lost();
    let beside = match kept {
        Ok(Some(kept)) => format!("; it is kept as {}", kept.display()),
        Ok(None) => String::new(),
        Err(error) => format!("; it cannot be kept beside: {error}"),
    };
    IndexError(format!("the journal does not reach as far as it{beside}"))
}

/// Replays from the last checkpoint, then schedules everything.
fn replay_tail(
    journal: &Journal,
    index: Index,
    state: &mut State,
    checkpoint: Option<&Checkpoint>,
    options: &EmbeddedOptions,
) -> Result<Index, IndexError> {
    let from = checkpoint.map_or(Position::START, |c| c.replay_from);
    let mut replay = Replay::default();
    let mut failed = None;
    let report = journal.scan(from, |record| {
        match replay.apply(state, Some(&index), &record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let report = report.map_err(|error| IndexError(error.to_string()))?;
    state.damaged += replay.damaged;
    state.tell(&report.damage);
    state.checkpoint = from;
    let last = QueueId::from_raw(u64::MAX);
    load_hot(state, last);
    let first = QueueId::from_raw(0);
    state.unread = load(&index, first, last, options.read_at_once, |visit| {
        visit(state)
    })?;
    match state.unread {
        Some(_) => state.recovering = true,
        None => {
            state.tell_lost();
            index.trust()?;
        }
    }
    Ok(index)
}

/// Makes ready for a rebuild: ids must be higher than all before, so the tail is looked through.
fn begin_rebuild(
    journal: &Journal,
    state: &mut State,
    checkpoint: Option<&Checkpoint>,
    cause: String,
) {
    let is_empty = journal.stats().segment_bytes == 0;
    let from = checkpoint.map_or(Position::START, |c| c.replay_from);
    let seen = journal.scan(from, |record| {
        state.core.seen(QueueId::from_raw(record.key));
        ControlFlow::Continue(())
    });
    if let Err(error) = seen {
        tracing::error!(%error, "the end of the queue's journal cannot be read");
    }
    if !is_empty {
        tracing::warn!(cause, "the queue's index is rebuilt from the journal");
    }
    state.index_rebuilt = Some(cause);
    state.recovering = true;
}

/// An empty index; `None` if even that cannot be made.
fn new_index(options: &EmbeddedOptions) -> Option<Index> {
    let made = Index::move_aside(&options.directory)
        .map_err(|error| IndexError(error.to_string()))
        .and_then(|()| Index::open(&options.directory, options.index_cache))
        .and_then(|index| index.trust().map(|()| index));
    match made {
        Ok(index) => Some(index),
        Err(error) => {
            tracing::error!(%error, "no index can be made; the queue lives in memory and journal until the next start");
            None
        }
    }
}

/// Does what opening has left: reads the rest of the index, or all segments into a new one.
pub(super) fn recover(shared: &Shared) {
    let last = shared.lock().core.last_id();
    let unread = shared.lock().unread.take();
    let read = match unread {
        Some(from) => read_index(shared, from, last),
        None => rebuild(shared, last),
    };
    if *shared.control.stop.lock() {
        return;
    }
    let mut state = shared.lock();
    if shared.check(&state).is_err() {
        return;
    }
    match read {
        Ok(()) => {
            state.recovering = false;
            state.tell_lost();
            drop(state);
            sweep(shared, last);
            shared.wake.notify_one();
        }
        Err(error) => drop(shared.fail_index(&mut state, &error.to_string())),
    }
}

/// Schedules what the index has from a message on, some at a time.
fn read_index(shared: &Shared, from: QueueId, last: QueueId) -> Result<(), IndexError> {
    let Some(index) = &shared.index else {
        return Ok(());
    };
    let mut next = Some(from);
    while let Some(from) = next
        && !*shared.control.stop.lock()
    {
        let _no_batch = shared.writing.lock();
        next = load(index, from, last, READ_TOGETHER, |visit| {
            visit(&mut shared.lock())
        })?;
    }
    // Also if the store stops before the end: what was read was sound.
    index.trust()
}

/// Reads all segments into the new index, then schedules what was found.
fn rebuild(shared: &Shared, last: QueueId) -> Result<(), IndexError> {
    let end = shared.lock().durable_end;
    let mut replay = Replay::default();
    let mut failed = None;
    let scanned = shared.journal.scan(Position::START, |record| {
        if record.position >= end || *shared.control.stop.lock() {
            return ControlFlow::Break(());
        }
        let full = {
            let mut state = shared.lock();
            if let Err(error) = replay.apply(&mut state, shared.index.as_ref(), &record) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            state.core.hot.len() > MOST_IN_MEMORY
        };
        if full {
            // Memory stays bounded however much there is to read. A failure shows at the end.
            if committer::step(shared).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    if *shared.control.stop.lock() {
        return Ok(());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let report = scanned.map_err(|error| IndexError(error.to_string()))?;
    // Rows of what is gone have to be gone before rows are looked at: this waits for the batch under way as well.
    committer::step(shared).map_err(|error| IndexError(error.to_string()))?;
    {
        let mut state = shared.lock();
        state.damaged += replay.damaged;
        state.tell(&report.damage);
        load_hot(&mut state, last);
    }
    read_index(shared, QueueId::from_raw(0), last)
}

/// Removes files of content that no message has: of commits that a crash cut short.
pub(super) fn sweep(shared: &Shared, last: QueueId) {
    let files = match shared.bodies.list() {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "the large bodies cannot be listed");
            return;
        }
    };
    for file in files {
        let Ok(id) = file.name.parse::<QueueId>() else {
            continue;
        };
        if id <= last && !shared.lock().core.is_live(id) {
            tracing::info!(%id, bytes = file.len, "removed content that belongs to no message");
            shared.lock().unlink.push(id);
        }
    }
}

fn spawn(name: &str, shared: &Arc<Shared>, run: fn(&Shared)) -> Result<JoinHandle<()>, QueueError> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(name.into());
    let named = name.to_owned();
    thread
        .spawn(move || guarded(&named, &shared, run))
        .map_err(|error| QueueError::Io {
            doing: format!("start the thread {name}"),
            cause: error.to_string(),
        })
}

/// Runs a thread's work. A panic would silently end bookkeeping, compaction or recovery: it fails the journal.
pub(super) fn guarded(name: &str, shared: &Shared, run: fn(&Shared)) {
    if catch_unwind(AssertUnwindSafe(|| run(shared))).is_err() {
        let cause = io::Error::other(format!("the thread {name} panicked"));
        let failure = Failure::new(FailedOperation::Owner, &shared.options.directory, cause);
        shared.journal.fail(failure);
    }
    // Commits that wait for the index: it is written no more, or has failed.
    shared.caught_up.notify_waiters();
}

/// Frees the reserve; says whether there was one.
fn give_up_reserve(directory: &Path) -> bool {
    fs::remove_file(directory.join(RESERVE)).is_ok()
}

/// Makes the reserve if there is none and room for it.
fn keep_reserve(options: &EmbeddedOptions) {
    let path = options.directory.join(RESERVE);
    let free = (options.free_space)(&options.directory).map_or(0, |free| free.bytes);
    if path.exists() || free < options.free_space_floor.saturating_add(RESERVE_BYTES) {
        return;
    }
    let zeros = vec![0; usize::try_from(RESERVE_BYTES).unwrap_or(0)];
    if let Err(error) = fs::write(&path, zeros) {
        tracing::warn!(path = %path.display(), %error, "no reserve could be made for a full disk");
    }
}

fn format_file(directory: &Path) -> FormatFile {
    FormatFile::new(directory, "sealpost-queue", FORMAT)
}

fn format_error(error: FormatError) -> QueueError {
    match error {
        FormatError::Newer {
            found, supported, ..
        } => QueueError::NewerFormat {
            found,
            known: supported,
        },
        other => QueueError::Io {
            doing: "read the queue's format".into(),
            cause: other.to_string(),
        },
    }
}

const FORMAT: u32 = 1;
const JOURNAL: &str = "journal";
const APPLICATION: [u8; 8] = *b"sealpstq";
const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 4 << 20;
/// What a start needs of the disk, with something to spare.
const START_ROOM: u64 = 1 << 20;
/// Messages that are scheduled between two batches of the index.
const READ_TOGETHER: usize = 2_000;
/// Messages in memory while segments are read.
const MOST_IN_MEMORY: usize = 20_000;
