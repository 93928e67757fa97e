//! The machine's clocks, and what is remembered of them from one process to the next (rows H8-01 to
//! H8-07).
//!
//! Monotonic time counts since the machine came up, sleep included: so that waking up is no jump of the
//! wall clock, and so that a process can go on from what the last one wrote down. `DATA/clock` holds one
//! line: boot id (`-` if the kernel does not tell it), milliseconds since that boot, Unix milliseconds
//! that belong to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mail_types::Timestamp;
use policy_cache::{Clock, JudgedClock};
use settings::Settings;

use super::open;
use crate::exit::Status;

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct MachineClock {
    start: Instant,
    /// Since boot, at `start`.
    uptime: Duration,
    /// Milliseconds that the machine has slept since `start`.
    slept: AtomicU64,
    /// Wall clock less `start.elapsed()`, in milliseconds, when sleep was last asked for.
    offset: AtomicI64,
}

impl MachineClock {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let wall = Timestamp::from_system(SystemTime::now());
        Self {
            start,
            uptime: uptime(),
            slept: AtomicU64::new(0),
            offset: AtomicI64::new(offset(wall, start.elapsed())),
        }
    }

    /// How long the machine has slept since the start.
    pub(crate) fn slept(&self) -> Duration {
        Duration::from_millis(self.slept.load(Ordering::Relaxed))
    }

    /// Where the wall clock has moved by itself, it was set, or the machine has slept: `run` does not count that.
    fn look_for_sleep(&self, wall: Timestamp, run: Duration) {
        let offset = offset(wall, run);
        if offset.abs_diff(self.offset.load(Ordering::Acquire)) < NOTICEABLE {
            return;
        }
        let up = uptime().saturating_sub(self.uptime + run);
        let slept = u64::try_from(up.as_millis()).unwrap_or(0);
        if slept > self.slept.load(Ordering::Relaxed) + NOTICEABLE {
            self.slept.store(slept, Ordering::Relaxed);
        }
        // Last: whoever sees this offset adds the sleep.
        self.offset.store(offset, Ordering::Release);
    }
}

impl Clock for MachineClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }

    fn monotonic(&self) -> Duration {
        self.both().1
    }

    fn both(&self) -> (Timestamp, Duration) {
        let (wall, run) = (self.wall(), self.start.elapsed());
        self.look_for_sleep(wall, run);
        (wall, self.uptime + run + self.slept())
    }
}

/// Wall clock less running time, in milliseconds.
fn offset(wall: Timestamp, run: Duration) -> i64 {
    let (wall, run) = (
        i64::try_from(wall.as_millis()),
        i64::try_from(run.as_millis()),
    );
    wall.unwrap_or(i64::MAX) - run.unwrap_or(i64::MAX)
}

/// Wall and monotonic time that belonged together in an earlier process, if that says anything now. It is not
/// written down before waiting mail has followed a clock that was set back: this process has to know that
/// it was, for the times of next attempts still lie in the future.
pub(crate) fn remembered(data_dir: &Path, clock: &dyn Clock) -> Option<(Timestamp, Duration)> {
    let boot = boot_id();
    if boot.is_none() {
        tracing::warn!(
            "{BOOT_ID} cannot be read: whether the clock was set ahead while the relay was down cannot be known; let \
             the service see all of /proc (no ProcSubset=pid)"
        );
    }
    let text = fs::read_to_string(data_dir.join(FILE)).ok()?;
    belonging(&text, boot.as_deref(), clock.wall(), clock.monotonic())
}

/// Writes down what belongs together now. Not synced: a crash of the machine loses a minute at most,
/// and only the knowledge of a jump.
pub(crate) fn remember(data_dir: &Path, judged: Timestamp, monotonic: Duration) {
    let line = line(boot_id().as_deref(), judged, monotonic);
    let (path, new) = (data_dir.join(FILE), data_dir.join("clock.new"));
    if let Err(error) = fs::write(&new, line).and_then(|()| fs::rename(&new, &path)) {
        tracing::debug!(%error, "the time could not be written down");
    }
}

/// The machine's clock, unless it cannot be right.
pub(super) fn plausible() -> anyhow::Result<(Arc<MachineClock>, Arc<dyn Clock>)> {
    let machine = Arc::new(MachineClock::new());
    if !is_implausible(machine.wall()) {
        return Ok((Arc::clone(&machine), machine));
    }
    let now = machine.wall().rfc3339();
    let text = format!(
        "this machine's clock says {now}, before this program was written: certificates could not be judged, and all \
         mail would seem to be old; set the clock and start again"
    );
    Err(open::fail(Status::Temporary, &text))
}

/// The clock with its guard, going on from what the last process wrote down.
pub(super) fn judged(clock: &Arc<dyn Clock>, settings: &Settings) -> Arc<JudgedClock> {
    let last = remembered(&settings.server.data_dir, &**clock);
    Arc::new(JudgedClock::new(Arc::clone(clock), last))
}

/// Whether no clock that is right can say this: certificates could not be judged, and all mail would
/// seem to be old (row H8-03).
pub(crate) fn is_implausible(wall: Timestamp) -> bool {
    wall < Timestamp::from_secs(WRITTEN)
}

fn line(boot: Option<&str>, judged: Timestamp, monotonic: Duration) -> String {
    let boot = boot.unwrap_or(UNKNOWN);
    format!("{boot} {} {}\n", monotonic.as_millis(), judged.as_millis())
}

/// Of the same boot: those. Of another, or if that is not known: only if the wall clock has gone back
/// since, for then the last known time goes on.
fn belonging(
    text: &str,
    boot: Option<&str>,
    wall: Timestamp,
    monotonic: Duration,
) -> Option<(Timestamp, Duration)> {
    let mut parts = text.split_whitespace();
    let (then, up, at) = (parts.next()?, parts.next()?, parts.next()?);
    let up = Duration::from_millis(up.parse().ok()?);
    let at = Timestamp::from_millis(at.parse().ok()?);
    if Some(then) == boot && up <= monotonic + ROUNDING {
        return Some((at, up.min(monotonic)));
    }
    (wall < at).then_some((at, monotonic))
}

/// Since boot, sleep included, rounded up to whole seconds. No file of `/proc` is needed for it.
fn uptime() -> Duration {
    let seconds = rustix::system::sysinfo().uptime;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string(BOOT_ID).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const UNKNOWN: &str = "-";
/// By how much the uptime of two processes can differ from what has gone by between them.
const ROUNDING: Duration = Duration::from_secs(1);
const FILE: &str = "clock";
/// Milliseconds.
const NOTICEABLE: u64 = 1000;
/// 2026-01-01: this program is not older.
const WRITTEN: u64 = 1_767_225_600;

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(u64) -> Timestamp = Timestamp::from_secs;
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn h8_01_within_one_boot_the_clocks_are_compared_over_a_restart() {
        let line = "abc 500000 1800000000000\n";
        let found = belonging(line, Some("abc"), T(1_900_000_000), S(600));
        assert_eq!(found, Some((T(1_800_000_000), S(500))));
    }

    #[test]
    fn h8_03_after_a_reboot_only_a_clock_that_went_back_is_doubted() {
        let line = "abc 500000 1800000000000\n";
        assert_eq!(belonging(line, Some("def"), T(1_900_000_000), S(9)), None);
        let back = belonging(line, Some("def"), T(1_700_000_000), S(9));
        assert_eq!(back, Some((T(1_800_000_000), S(9))));
        for damaged in ["", "abc", "abc x 1", "abc 1 x"] {
            assert_eq!(belonging(damaged, Some("abc"), T(1), S(1)), None);
        }
    }

    #[test]
    fn h8_01_a_quick_restart_is_of_the_same_boot_although_uptimes_are_rounded() {
        let line = "abc 11500 1800000000000\n";
        let found = belonging(line, Some("abc"), T(1_900_000_000), S(11));
        assert_eq!(found, Some((T(1_800_000_000), S(11))));
    }

    #[test]
    fn h8_02_h8_03_without_a_boot_id_a_clock_that_went_back_is_doubted_all_the_same() {
        let line = line(None, T(1_800_000_000), S(500));
        assert_eq!(belonging(&line, None, T(1_900_000_000), S(600)), None);
        let back = belonging(&line, None, T(1_700_000_000), S(600));
        assert_eq!(back, Some((T(1_800_000_000), S(600))));
    }

    #[test]
    fn h8_07_the_uptime_is_that_of_the_machine() {
        let text = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        let apart = uptime().abs_diff(Duration::from_secs_f64(seconds));
        assert!(apart < S(3), "{apart:?}");
    }

    #[test]
    fn h8_03_a_clock_before_this_program_was_written_is_wrong() {
        assert!(is_implausible(T(0)) && is_implausible(T(1_767_225_599)));
        assert!(!is_implausible(MachineClock::new().wall()));
    }

    #[test]
    fn h8_07_sleep_is_counted_from_the_first_look_after_it() {
        let awake = MachineClock::new();
        let asleep = S(5);
        // As one that began before a sleep: the machine has been up for longer than this has run.
        let clock = MachineClock {
            start: awake.start,
            uptime: awake.uptime - asleep,
            slept: AtomicU64::new(0),
            offset: AtomicI64::new(awake.offset.load(Ordering::Relaxed) - 5_000),
        };
        let (_, mono) = clock.both();
        assert!(mono.abs_diff(awake.monotonic()) <= ROUNDING, "{mono:?}");
        assert!(clock.slept().abs_diff(asleep) <= ROUNDING);
        assert_eq!(awake.slept(), S(0));
    }

    #[test]
    fn monotonic_time_goes_on_and_survives_in_a_file() {
        let clock = MachineClock::new();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first && clock.slept().is_zero());
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(remembered(dir.path(), &clock), None);
        remember(dir.path(), T(1_800_000_000), first);
        let (at, _) = remembered(dir.path(), &clock).unwrap();
        assert_eq!(at, T(1_800_000_000));
    }
}
