//! A thread that flushes and syncs on demand, so that a flush that hangs can be given up.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{IndexError, failed, guarded};

pub(super) struct Flusher {
    ask: Option<SyncSender<()>>,
    answer: Receiver<Result<(), IndexError>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// `file` is the database file, opened anew: its `fdatasync` is what makes a flush durable.
    pub(super) fn start(db: sled::Db, file: File) -> Result<Self, IndexError> {
        let (ask, asked) = sync_channel::<()>(1);
        let (tell, answer) = sync_channel(1);
        let flush = move || {
            while asked.recv().is_ok() {
                let flushed = guarded(|| db.flush().map(|_| ()))
                    .and_then(|()| file.sync_data().map_err(failed));
                if tell.send(flushed).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("policy-index-flush".into());
        let thread = thread.spawn(flush).map_err(failed)?;
        Ok(Self {
            ask: Some(ask),
            answer,
            thread: Some(thread),
        })
    }

    pub(super) fn flush(&mut self) -> Result<(), IndexError> {
        let asked = self.ask.as_ref().map(|ask| ask.try_send(()));
        if !matches!(asked, Some(Ok(()))) {
            return Err(IndexError("its flush hangs".into()));
        }
        match self.answer.recv_timeout(LONGEST_FLUSH) {
            Ok(flushed) => flushed,
            Err(RecvTimeoutError::Timeout) => {
                // Nobody will wait for that thread again.
                self.thread = None;
                Err(IndexError("its flush hangs".into()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(IndexError("its flush panicked".into())),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // It holds the database open: the next one to open it must not find it so.
            let _ = thread.join();
        }
    }
}

const LONGEST_FLUSH: Duration = Duration::from_secs(30);
