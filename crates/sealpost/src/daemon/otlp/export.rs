//! The task that hands spans to the collector in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attempt::Level;
use mail_types::Clean;
use metrics::SpanResult;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::http::Collector;
use crate::daemon::observe::Observer;

/// What hands spans on; given to a task of its own.
pub(crate) struct Exporter {
    pub(super) collector: Collector,
    pub(super) receiver: mpsc::Receiver<Vec<SpanData>>,
    pub(super) overflow: Arc<AtomicU64>,
}

impl Exporter {
    /// Runs until `stopping`, then hands over what still waits, for a moment.
    pub(crate) async fn run(mut self, observer: Observer, mut stopping: watch::Receiver<bool>) {
        let mut state = State::default();
        loop {
            let batch = tokio::select! {
                batch = self.batch() => batch,
                _ = stopping.wait_for(|stop| *stop) => break,
            };
            self.hand_over(batch, &observer, &mut state).await;
            if state.failing {
                // What comes meanwhile waits in the channel, and is dropped when that is full.
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = stopping.wait_for(|stop| *stop) => break,
                }
            }
        }
        let rest = async {
            let mut batch = Vec::new();
            while let Ok(spans) = self.receiver.try_recv() {
                batch.extend(spans);
            }
            self.hand_over(batch, &observer, &mut state).await;
        };
        let _ = timeout(LAST, rest).await;
    }

    /// Waits for spans; then until there are enough, or a moment has passed.
    async fn batch(&mut self) -> Vec<SpanData> {
        // The sender lives as long as the observer: without it there is nothing to come.
        let Some(mut batch) = self.receiver.recv().await else {
            return std::future::pending().await;
        };
        let end = Instant::now() + GATHER;
        while batch.len() < ENOUGH {
            tokio::select! {
                more = self.receiver.recv() => match more {
                    Some(more) => batch.extend(more),
                    None => break,
                },
                () = sleep_until(end) => break,
            }
        }
        batch
    }

    async fn hand_over(&self, batch: Vec<SpanData>, observer: &Observer, state: &mut State) {
        let lost = self.overflow.swap(0, Ordering::Relaxed);
        observer.metrics.spans(SpanResult::Dropped, lost);
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let result = self.collector.send(batch).await;
        let dropped = result.as_ref().map_or(count, |refused| count.min(*refused));
        observer.metrics.spans(SpanResult::Dropped, dropped);
        observer
            .metrics
            .spans(SpanResult::Exported, count - dropped);
        match result {
            Ok(_) if state.failing => {
                observer.process("telemetry.recovered", Level::Info, &[]);
                state.failing = false;
            }
            Err(error) if !state.failing => {
                let why = Clean::new(&error, 300).to_string();
                let fields = [("detail", why.as_str()), ("advice", ADVICE)];
                observer.process("telemetry.failed", Level::Warn, &fields);
                state.failing = true;
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Told once when it begins to fail and once when it works again.
#[derive(Default)]
struct State {
    failing: bool,
}

const ADVICE: &str = "Traces are dropped until the collector of telemetry.otlp.endpoint takes them again; \
    mail is not touched by it.";
/// Spans of one request.
const ENOUGH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Between two tries while the collector does not take them.
const PAUSE: Duration = Duration::from_secs(5);
/// For what is left when the process ends.
const LAST: Duration = Duration::from_secs(2);
