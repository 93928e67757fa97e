//! What a command shows while one waits: on standard error, only if that is a terminal and nobody
//! reads JSON, and only for what takes more than a second.

use std::io::{IsTerminal as _, stderr, stdout};
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A line that comes late and goes without a trace.
pub struct Progress {
    wanted: bool,
    /// Standard output is the same terminal: what is printed there shows that it goes on.
    prints: bool,
    began: Instant,
    shown: Option<ProgressBar>,
}

impl Progress {
    /// For a command that begins now.
    pub fn new(json: bool) -> Self {
        Self {
            wanted: !json && stderr().is_terminal(),
            prints: stdout().is_terminal(),
            began: Instant::now(),
            shown: None,
        }
    }

    /// Waits for `work`; what is being done is shown from a second after the start of the command on
    /// (where results are printed meanwhile: of this wait).
    pub async fn during<F: Future>(&mut self, doing: &str, work: F) -> F::Output {
        if !self.wanted {
            return work.await;
        }
        if self.prints {
            self.began = Instant::now();
        }
        let mut work = pin!(work);
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                _ = frames.tick() => self.draw(doing),
            }
        };
        if self.prints {
            self.end();
        }
        result
    }

    fn draw(&mut self, doing: &str) {
        let passed = self.began.elapsed();
        if passed < SILENT {
            return;
        }
        let bar = self.shown.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is ours and right; without it the bar has a style of its own.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(format!("{doing} ({} s)", passed.as_secs()));
        bar.tick();
    }

    /// Takes the line away.
    fn end(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// How long nothing is shown.
const SILENT: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(100);
