//! The one thread that takes what is durable in the journal to the index.
//!
//! Notes come from the journal's completions, hence in the journal's order and only for what is
//! synced. The thread gathers them for a moment, so that a burst of fetches costs one batch. If the
//! index fails it is marked for a rebuild and the thread only throws notes away from then on: the
//! journal needs no index.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use journal::Position;

use crate::index::{Class, Edit, Edits, Index, IndexError};
use crate::row::Row;

/// The writing end of the index. Dropping it takes everything there and closes it in order.
pub(crate) struct Mirror {
    notes: Option<Sender<Note>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<OnceLock<String>>,
}

/// What the journal has just made durable.
pub(crate) enum Note {
    /// A row that ends there.
    Row(u64, Row, Position),
    /// All that counts has been written anew, up to there; what is this old and not among it is gone.
    Rewritten {
        rows: Vec<(u64, Row)>,
        up_to: u64,
        end: Position,
    },
    /// Answer when everything noted before is in the index.
    #[cfg(test)]
    Settle(Sender<()>),
}

impl Mirror {
    /// Takes over an index. `first` is written before any note; the index then contains the journal
    /// up to `applied`. Without `first` it contains that already.
    /// `written` is called after each batch of notes that is on disk here.
    pub(crate) fn start(
        index: Index,
        first: Edits,
        applied: Position,
        written: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (notes, inbox) = channel();
        let failed = Arc::new(OnceLock::new());
        let told = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("policy-index".into());
        let thread = thread.spawn(move || {
            let mut writer = Writer {
                index,
                edits: first,
                applied,
                waiting: Vec::new(),
                written: Box::new(written),
            };
            if let Err(error) = writer.run(&inbox) {
                tracing::error!(%error, "the index of policies failed; the journal goes on without it, the next start rebuilds it");
                writer.index.distrust();
                let _ = told.set(error.to_string());
                // The senders need not care.
                while inbox.recv().is_ok() {}
            }
        })?;
        Ok(Self {
            notes: Some(notes),
            thread: Some(thread),
            failed,
        })
    }

    /// Where completions send their notes.
    pub(crate) fn sender(&self) -> Option<Sender<Note>> {
        self.notes.clone()
    }

    /// Why the index is not written any more.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Waits until everything noted is in the index.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        let (done, wait) = channel();
        if let Some(notes) = &self.notes {
            let _ = notes.send(Note::Settle(done));
        }
        let _ = wait.recv();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.notes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    index: Index,
    edits: Edits,
    applied: Position,
    waiting: Vec<Sender<()>>,
    written: Box<dyn Fn() + Send>,
}

impl Writer {
    /// Until all senders are gone.
    fn run(&mut self, inbox: &Receiver<Note>) -> Result<(), IndexError> {
        if !self.edits.is_empty() {
            self.write(false)?;
        }
        loop {
            let Ok(note) = inbox.recv() else {
                return self.write(true);
            };
            self.take(note)?;
            let until = Instant::now() + GATHER;
            let open = loop {
                if !self.waiting.is_empty() {
                    break true;
                }
                match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(note) => self.take(note)?,
                    Err(RecvTimeoutError::Timeout) => break true,
                    Err(RecvTimeoutError::Disconnected) => break false,
                }
            };
            self.write(!open)?;
            if !open {
                return Ok(());
            }
            (self.written)();
            self.waiting.clear();
        }
    }

    fn take(&mut self, note: Note) -> Result<(), IndexError> {
        match note {
            Note::Row(seq, row, end) => {
                put(&mut self.edits, seq, row);
                self.applied = self.applied.max(end);
            }
            Note::Rewritten { rows, up_to, end } => {
                self.write(false)?;
                let mut kept = Edits::new();
                for (seq, row) in rows {
                    put(&mut kept, seq, row);
                }
                for thing in self.index.older_than(up_to, &kept)? {
                    kept.insert(thing, Edit::RemoveUpTo(up_to));
                }
                self.edits = kept;
                self.applied = self.applied.max(end);
            }
            #[cfg(test)]
            Note::Settle(done) => self.waiting.push(done),
        }
        Ok(())
    }

    fn write(&mut self, closing: bool) -> Result<(), IndexError> {
        let edits = std::mem::take(&mut self.edits);
        self.index.apply(&edits, self.applied, closing)
    }
}

/// The row with the highest number counts.
pub(crate) fn put(edits: &mut Edits, seq: u64, row: Row) {
    let thing = (Class::of(&row), row.domain().clone());
    // With its text: what was there before may be gone.
    let row = match row {
        Row::Renewed(policy) => Row::Policy(policy),
        other => other,
    };
    let newer = match edits.get(&thing) {
        Some(Edit::Put(before, _) | Edit::RemoveUpTo(before)) => *before <= seq,
        None => true,
    };
    if newer {
        edits.insert(thing, Edit::Put(seq, row));
    }
}

/// What is fetched within this time shares a batch.
const GATHER: Duration = Duration::from_millis(200);
