//! One system call that fails, or is the last: strace does it from outside, so that nothing in the
//! relay knows of it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sealpost_tests::{Daemon, eventually, program};

use crate::chance::{Chance, number};
use crate::ledger::Ledger;
use crate::load::{Load, Plan};
use crate::peers::Peers;
use crate::site::{Site, Started};

/// What strace does at the n-th call of a thread.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// As strace names them; `?` before those that some machines do not have.
    calls: &'static str,
    what: &'static str,
    /// How the process may end by itself; `None`: it has to live on.
    ends: Option<Ends>,
    /// Which calls, in the short run.
    nth: &'static [u32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Killed at once.
    Killed,
    /// Exit 74 after an orderly end, or it lives on if nothing was in doubt.
    Disk,
}

const fn kill(calls: &'static str, nth: &'static [u32]) -> Fault {
    let (what, ends) = ("signal=SIGKILL", Some(Ends::Killed));
    Fault {
        calls,
        what,
        ends,
        nth,
    }
}

const fn fail(calls: &'static str, what: &'static str, nth: &'static [u32]) -> Fault {
    let ends = Some(Ends::Disk);
    Fault {
        calls,
        what,
        ends,
        nth,
    }
}

const WRITES: &str = "pwritev,?pwritev2,pwrite64";
const SYNCS: &str = "fdatasync,fsync";
const RENAMES: &str = "?rename,?renameat,?renameat2";
const UNLINKS: &str = "?unlink,unlinkat";
const REPLIES: &str = "sendto,writev,sendmsg";
const OPENS: &str = "?open,openat";

const FAULTS: [Fault; 14] = [
    kill(WRITES, &[1, 2, 3, 7, 20]),
    kill(SYNCS, &[1, 2, 3, 7, 20]),
    kill(RENAMES, &[1, 2]),
    kill(UNLINKS, &[1, 2]),
    kill(REPLIES, &[5, 30, 90]),
    kill("?ftruncate,?sync_file_range", &[1, 2]),
    fail(SYNCS, "error=EIO", &[1, 2, 6, 15]),
    fail(SYNCS, "error=ENOSPC", &[9]),
    fail(WRITES, "error=EIO", &[1, 5, 15]),
    fail(WRITES, "error=ENOSPC", &[1, 5, 15]),
    fail(RENAMES, "error=EIO", &[1]),
    fail(RENAMES, "error=ENOSPC", &[1]),
    fail(UNLINKS, "error=EIO", &[1]),
    fail(OPENS, "error=EMFILE", &[60, 80]),
];

testkit::net_test! {
    async fn h6_03_h7_01_h7_02_h7_03_e4_14_any_system_call_may_be_the_last_or_fail() {
        let begun = Instant::now();
        let mut chance = Chance::seeded("faults from outside");
        let rounds = number("CRASH_ROUNDS", 1);
        let peers = Peers::start().await;
        let site = Site::new(&Peers::config());
        let ledger = Arc::new(Ledger::default());
        let mut runs = 0;
        for round in 0..rounds {
            for fault in FAULTS {
                for nth in fault.nth {
                    // In further rounds other calls than in the first.
                    let spread = u64::from(*nth).max(4);
                    let n = if round == 0 { *nth } else { 1 + chance.below(2 * spread) as u32 };
                    run(&site, fault, n, runs, &ledger, &mut chance).await;
                    runs += 1;
                }
            }
        }
        let mut daemon = site.start().await;
        site.drained(Duration::from_secs(90)).await;
        daemon.kill();
        let tally = ledger.compare(&peers.arrived());
        println!("{runs} faults, {:?}: {tally}", begun.elapsed());
        assert!(tally.accepted > runs, "no load to speak of: {tally}");
        for word in ["panicked", "journal is lost", "has lost"] {
            assert!(!site.printed().contains(word), "{}", site.story());
        }
    }
}

/// One process under one fault, and a load on it.
async fn run(
    site: &Site,
    fault: Fault,
    n: u32,
    number: usize,
    ledger: &Arc<Ledger>,
    chance: &mut Chance,
) {
    let what = format!("{}:{}:when={n}", fault.calls, fault.what);
    let before = ledger.accepted();
    let daemon = site.spawn(&strace(&what));
    let (mut daemon, status) = match site.settled(daemon).await {
        Started::Serving(mut daemon) => {
            let name = format!("f{number}");
            Load::start(PLAN, &name, &what, ledger, chance).end().await;
            let status = ended_or_killed(&mut daemon, fault, ledger).await;
            (Some(daemon), status)
        }
        Started::Ended(status) => (None, Some(status)),
    };
    if let Some(status) = status {
        judge(site, fault, &what, status);
    }
    if let Some(daemon) = &mut daemon {
        daemon.kill();
    }
    let accepted = ledger.accepted() - before;
    println!("{what}: {accepted} accepted, {status:?}");
}

/// A process whose disk failed ends by itself, soon. One that has nothing to complain of is killed.
async fn ended_or_killed(daemon: &mut Daemon, fault: Fault, ledger: &Ledger) -> Option<ExitStatus> {
    let patience = match fault.ends {
        Some(Ends::Disk) => Duration::from_millis(1_500),
        // If the load was cut off, the end is near.
        Some(Ends::Killed) => Duration::from_millis(300),
        None => Duration::ZERO,
    };
    let status = eventually(patience, async || daemon.status()).await;
    ledger.killed();
    status
}

fn judge(site: &Site, fault: Fault, what: &str, status: ExitStatus) {
    let by_signal = status.signal() == Some(Signal::KILL.as_raw());
    let right = match fault.ends {
        Some(Ends::Killed) => by_signal,
        Some(Ends::Disk) => matches!(status.code(), Some(73 | 74)),
        None => false,
    };
    assert!(right, "{what}: {status}\n{}", site.story());
}

/// strace's own words go to a file that nobody reads but whoever looks for a failure's cause.
pub(crate) fn strace(inject: &str) -> Vec<String> {
    let strace = program("strace", "strace");
    let calls = inject.split(':').next().unwrap_or_default();
    // Stopping at no other calls is quicker, but a signal injected at such a stop is lost.
    let quick = inject.contains("error=").then_some("--seccomp-bpf");
    let arguments = [
        "-f",
        "-qq",
        "-o",
        "strace.log",
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={inject}"),
    ];
    let program = strace.display().to_string();
    let arguments = arguments.into_iter().chain(quick).map(str::to_owned);
    std::iter::once(program).chain(arguments).collect()
}

const PLAN: Plan = Plan {
    clients: 4,
    messages: 12,
};
