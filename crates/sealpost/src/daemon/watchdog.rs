//! A thread of its own that sees whether the others get on (row H7-09).
//!
//! systemd is told that all is well only while every part that never rests has moved within the last
//! minute. What stands still is told once; then the process ends, by systemd's hand where that watches,
//! else by its own, so that a supervisor starts it anew. Nothing is lost by that: it is as a crash.
//!
//! When all of the process was stopped (`SIGSTOP`, `docker pause`, a frozen control group), nobody had
//! a chance to move, and this thread least of all: then a new minute begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attempt::Level;

use super::observe::Observer;
use crate::exit::Status;

/// A part that never rests, and the number that it raises as it moves.
pub(crate) type Pulse = (&'static str, Box<dyn Fn() -> u64 + Send>);

/// Ends the watch when it is dropped.
pub(crate) struct Watchdog(Arc<AtomicBool>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts the watch.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(pulses: Vec<Pulse>, observer: Observer) -> std::io::Result<Watchdog> {
    let ended = Arc::new(AtomicBool::new(false));
    let watchdog = Watchdog(Arc::clone(&ended));
    let thread = std::thread::Builder::new().name("watchdog".into());
    thread.spawn(move || watch(&pulses, &observer, &ended))?;
    Ok(watchdog)
}

fn watch(pulses: &[Pulse], observer: &Observer, ended: &AtomicBool) {
    let mut usec = 0;
    let systemd_watches = sd_notify::watchdog_enabled(false, &mut usec);
    let began = Instant::now();
    let mut parts: Vec<Part> = pulses.iter().map(|_| Part::default()).collect();
    let mut looked = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let now = began.elapsed();
        after_a_gap(&mut parts, std::mem::replace(&mut looked, now), now);
        let mut all_move = true;
        for ((name, pulse), part) in pulses.iter().zip(&mut parts) {
            let Some(stands_since) = part.look(pulse(), now) else {
                continue;
            };
            all_move = false;
            if std::mem::replace(&mut part.told, true) {
                continue;
            }
            let seconds = now.saturating_sub(stands_since).as_secs().to_string();
            let fields = [("part", *name), ("seconds", seconds.as_str())];
            observer.process("process.stalled", Level::Error, &fields);
        }
        if all_move {
            super::signals::notify(&[sd_notify::NotifyState::Watchdog]);
        } else if !systemd_watches && !ended.load(Ordering::Relaxed) {
            // The log's own thread gets a moment to write that down.
            std::thread::sleep(LOOK);
            std::process::exit(Status::Software as i32);
        }
    }
}

/// Where this thread itself did not run since its last look, what the others did in that time says
/// nothing about them.
fn after_a_gap(parts: &mut [Part], looked: Duration, now: Duration) {
    if now.saturating_sub(looked) > GAP {
        for part in parts {
            part.since = now;
        }
    }
}

/// What is known of a part.
#[derive(Default)]
struct Part {
    pulse: u64,
    since: Duration,
    told: bool,
}

impl Part {
    /// Since when it has stood still, if that is too long.
    fn look(&mut self, pulse: u64, now: Duration) -> Option<Duration> {
        if pulse != self.pulse {
            *self = Self {
                pulse,
                since: now,
                told: false,
            };
        }
        (now.saturating_sub(self.since) >= PATIENCE).then_some(self.since)
    }
}

const LOOK: Duration = Duration::from_secs(1);
/// Between two looks; a busy machine delays one by less.
const GAP: Duration = Duration::from_secs(5);
/// A part that has not moved for so long does not move any more.
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h7_09_what_does_not_move_for_a_minute_stands_still() {
        let mut part = Part::default();
        for n in 1..300 {
            assert_eq!(part.look(n, Duration::from_secs(n)), None, "it moves");
        }
        assert_eq!(part.look(299, Duration::from_secs(358)), None);
        assert_eq!(
            part.look(299, Duration::from_secs(359)),
            Some(Duration::from_secs(299))
        );
        assert_eq!(
            part.look(300, Duration::from_secs(400)),
            None,
            "it has come round"
        );
    }

    #[test]
    fn h7_09_whoever_was_stopped_has_a_minute_from_then_on() {
        let mut parts = [Part::default()];
        let at = Duration::from_secs;
        assert_eq!(parts[0].look(7, at(1)), None);
        after_a_gap(&mut parts, at(1), at(2));
        assert_eq!(parts[0].since, at(1), "a second is no gap");
        after_a_gap(&mut parts, at(2), at(92));
        assert_eq!(parts[0].look(7, at(92)), None, "it had no chance to move");
        for second in 93..152 {
            after_a_gap(&mut parts, at(second - 1), at(second));
            assert_eq!(parts[0].look(7, at(second)), None, "{second}");
        }
        after_a_gap(&mut parts, at(151), at(152));
        assert_eq!(parts[0].look(7, at(152)), Some(at(92)), "it had a minute");
    }
}
