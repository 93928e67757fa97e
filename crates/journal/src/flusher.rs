//! A thread that flushes on demand, so that a flush that hangs can be given up. For the indexes beside
//! journals, whose engine is not ours.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The thread, at work only while [`Flusher::flush`] waits for it. Dropping it waits for its end, unless it
/// hangs.
#[derive(Debug)]
pub struct Flusher<E> {
    ask: Option<SyncSender<()>>,
    answer: Receiver<Result<(), E>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
}

/// A flush did not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlushError<E> {
    /// It takes longer than the owner's patience, or an earlier one did: nothing is asked of it again.
    #[error("its flush hangs")]
    Hangs,
    /// It panicked: nothing is asked of it again.
    #[error("its flush panicked")]
    Panicked,
    /// It failed.
    #[error(transparent)]
    Failed(E),
}

impl<E: Send + 'static> Flusher<E> {
    /// Starts a thread of this name, on which `flush` is called; a call may take as long as `patience`.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(
        name: &str,
        patience: Duration,
        flush: impl Fn() -> Result<(), E> + Send + 'static,
    ) -> io::Result<Self> {
        let (ask, asked) = sync_channel::<()>(1);
        let (tell, answer) = sync_channel(1);
        let answer_all = move || {
            while asked.recv().is_ok() {
                if tell.send(flush()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        Ok(Self {
            ask: Some(ask),
            answer,
            thread: Some(thread.spawn(answer_all)?),
            patience,
        })
    }

    /// Flushes, and waits for that.
    ///
    /// # Errors
    /// [`FlushError`].
    pub fn flush(&mut self) -> Result<(), FlushError<E>> {
        if self.thread.is_none() {
            return Err(FlushError::Hangs);
        }
        let asked = self.ask.as_ref().map(|ask| ask.try_send(()));
        if !matches!(asked, Some(Ok(()))) {
            return Err(FlushError::Panicked);
        }
        match self.answer.recv_timeout(self.patience) {
            Ok(flushed) => flushed.map_err(FlushError::Failed),
            Err(RecvTimeoutError::Timeout) => {
                // Nobody will wait for that thread again.
                self.thread = None;
                Err(FlushError::Hangs)
            }
            Err(RecvTimeoutError::Disconnected) => Err(FlushError::Panicked),
        }
    }
}

impl<E> Drop for Flusher<E> {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // It holds the index open: the next one to open that must not find it so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_that_hangs_is_given_up() {
        let (let_go, held) = sync_channel::<()>(0);
        let held = std::sync::Mutex::new(held);
        let hangs = move || {
            let _ = held.lock().unwrap().recv();
            Ok::<(), ()>(())
        };
        let mut flusher = Flusher::start("flush", Duration::from_millis(50), hangs).unwrap();
        assert_eq!(flusher.flush(), Err(FlushError::Hangs));
        // Nothing is asked of that thread again, and nobody waits for its end.
        assert_eq!(flusher.flush(), Err(FlushError::Hangs));
        drop(flusher);
        let _ = let_go.send(());
    }

    #[test]
    fn one_that_answers_passes_its_answer_on() {
        let mut flusher = Flusher::start("flush", LONG, || Err("no room")).unwrap();
        assert_eq!(flusher.flush(), Err(FlushError::Failed("no room")));
        assert_eq!(
            flusher.flush(),
            Err(FlushError::Failed("no room")),
            "it is asked anew"
        );
    }

    #[test]
    fn one_that_panics_says_so() {
        let panics = || -> Result<(), ()> { panic!("as a test") };
        let mut flusher = Flusher::start("flush", LONG, panics).unwrap();
        assert_eq!(flusher.flush(), Err(FlushError::Panicked));
        assert_eq!(flusher.flush(), Err(FlushError::Panicked));
    }
}
