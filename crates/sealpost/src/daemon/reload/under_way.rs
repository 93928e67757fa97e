//! That a reload reads files now, and how many wait for it: a disk may not answer.

use std::sync::Arc;

use admin::LastReloadView;
use attempt::Level;
use mail_types::Timestamp;
use outbound_queue::QueueStore;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::sync::{Notify, oneshot};

use crate::daemon::observe::Observer;
use crate::daemon::process::Process;
use crate::daemon::signals::notify;

/// All reloads that have been asked for and have not ended.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the one that reads now began.
    since: Option<Timestamp>,
    waiting: usize,
    told: bool,
}

/// One that waits for its turn.
pub(super) struct Waiting<'a>(&'a UnderWay);

/// The one that reads.
pub(super) struct Turn<'a>(&'a UnderWay);

impl UnderWay {
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.0.lock().waiting += 1;
        Waiting(self)
    }

    /// For whoever looks at the last reload.
    pub(crate) fn show(&self, view: &mut LastReloadView) {
        let state = self.0.lock();
        view.under_way_since = state.since.map(Timestamp::rfc3339);
        view.waiting = state.waiting as u64;
    }

    /// Says once of each reload that takes long. To be called now and then.
    pub(crate) fn tell(&self, observer: &Observer) {
        let Some((since, waiting)) = self.slow(observer.now()) else {
            return;
        };
        let (since, waiting) = (since.rfc3339(), waiting.to_string());
        let fields = [("since", &*since), ("waiting", &*waiting), ("detail", SLOW)];
        observer.process("config.reload-slow", Level::Warn, &fields);
    }

    fn slow(&self, now: Timestamp) -> Option<(Timestamp, usize)> {
        let mut state = self.0.lock();
        let since = state
            .since
            .filter(|since| now.since(*since).as_secs() >= LONG)?;
        let first = !std::mem::replace(&mut state.told, true);
        first.then_some((since, state.waiting))
    }
}

impl<'a> Waiting<'a> {
    pub(super) fn begin(self, now: Timestamp) -> Turn<'a> {
        let mut state = self.0.0.lock();
        state.since = Some(now);
        state.told = false;
        Turn(self.0)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.lock().waiting -= 1;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.lock().since = None;
    }
}

/// Reloads that signals ask for, one after the other and beside everything else: whoever answers the
/// watchdog waits for no disk. Signals that come while one waits for its turn ask for the same.
pub(crate) async fn on_signal<S: QueueStore>(process: Arc<Process<S>>, asked: Arc<Notify>) {
    loop {
        asked.notified().await;
        notify(&[NotifyState::Reloading]);
        let (done, ended) = oneshot::channel::<()>();
        let (process, runtime) = (Arc::clone(&process), tokio::runtime::Handle::current());
        // Not one of the runtime's threads: the end of the process does not wait for it.
        let begun = std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || {
                let _runtime = runtime.enter();
                let _ = process.reload();
                drop(done);
            });
        if let Err(error) = begun {
            tracing::error!(%error, "no thread for a reload");
        }
        let _ = ended.await;
        notify(&[NotifyState::Ready]);
    }
}

/// Seconds.
const LONG: u64 = 10;
const SLOW: &str = "the configuration or a file that it names is on a disk that does not answer; what was in \
     force stays in force, and other reloads wait";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_takes_long_is_told_once_with_those_that_wait() {
        let all = UnderWay::default();
        let at = Timestamp::from_secs;
        let shown = || {
            let mut view = LastReloadView::default();
            all.show(&mut view);
            (view.under_way_since, view.waiting)
        };
        assert_eq!(shown(), (None, 0));
        let first = all.wait().begin(at(100));
        let second = all.wait();
        assert_eq!(shown(), (Some(at(100).rfc3339()), 1));
        assert_eq!(all.slow(at(109)), None);
        assert_eq!(all.slow(at(110)), Some((at(100), 1)));
        assert_eq!(all.slow(at(120)), None);
        drop(first);
        assert_eq!(all.slow(at(200)), None, "nothing is under way");
        let turn = second.begin(at(200));
        assert_eq!(shown(), (Some(at(200).rfc3339()), 0));
        assert_eq!(all.slow(at(210)), Some((at(200), 0)));
        drop(turn);
        assert_eq!(shown(), (None, 0));
    }
}
