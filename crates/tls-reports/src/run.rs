//! The task that writes, closes days and sends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::ports::Ports;
use crate::reports::Reports;

impl Reports {
    /// Runs until `stop`: what is being sent then ends in its own time, within reason, and what was counted is written.
    pub async fn run(self: Arc<Self>, ports: Ports, stop: impl Future<Output = ()>) {
        // Only one runs.
        let _ = self.clock.set(Arc::clone(&ports.clock));
        let mut sending = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.begin_due(&ports, &mut sending);
            let pause = self.until_due(&ports, sending.len());
            tokio::select! {
                () = &mut stop => break,
                _ = tick.tick() => self.write_down(&ports).await,
                () = self.wake.notified() => {}
                Some(_) = sending.join_next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        let all = async { while sending.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST, all).await.is_err() {
            tracing::info!("TLS reports that were being sent are sent again after the next start");
        }
        sending.shutdown().await;
        self.write_down(&ports).await;
    }

    /// Begins to send what is due, as long as that is not too much at once.
    fn begin_due(self: &Arc<Self>, ports: &Ports, sending: &mut JoinSet<()>) {
        let room = AT_ONCE.saturating_sub(sending.len());
        for job in self.take_due(ports.clock.wall(), room) {
            let (reports, ports) = (Arc::clone(self), ports.clone());
            sending.spawn(async move { reports.send(&ports, job).await });
        }
    }

    /// How long there is nothing to begin.
    fn until_due(&self, ports: &Ports, sending: usize) -> Duration {
        if sending >= AT_ONCE || !self.is_on() || self.is_behind() {
            return EVERY;
        }
        let next = self.book.lock().next_due();
        let until = next.map_or(EVERY, |at| at.since(ports.clock.wall()));
        // No faster than that, whatever the clock says.
        until.clamp(LEAST, EVERY)
    }

    async fn write_down(self: &Arc<Self>, ports: &Ports) {
        let (reports, now) = (Arc::clone(self), ports.clock.wall());
        let written = tokio::task::spawn_blocking(move || reports.turn(now));
        // A disk that takes nothing has been told.
        if let Err(error) = written.await {
            tracing::error!(%error, "writing the counts of TLS reports failed");
        }
    }
}

/// Reports that are being sent at the same time.
pub(crate) const AT_ONCE: usize = 16;
const EVERY: Duration = Duration::from_mins(1);
const LEAST: Duration = Duration::from_millis(100);
/// For reports that are being sent when the relay stops.
const LAST: Duration = Duration::from_secs(5);
