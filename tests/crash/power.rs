//! Power cuts: what a disk holds at the moment at which everything stops, opened anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sealpost_tests::{Daemon, eventually};

use crate::chance::{Chance, number};
use crate::ledger::Ledger;
use crate::load::{Load, Plan};
use crate::mounts::{Image, not_run, own_processes, unmount};
use crate::peers::Peers;
use crate::site::Site;

testkit::net_test! {
    async fn e4_14_h6_06_h7_02_what_was_answered_250_survives_power_cuts() {
        let begun = Instant::now();
        let cuts = number("CRASH_CUTS", 6);
        let mut chance = Chance::seeded("power cuts");
        let site = Site::new(&Peers::config());
        let mounted = Image::make(&site.path().join("disk.img"), 160)
            .and_then(|image| image.mount(&site.data()).map(|()| image));
        let mut image = match mounted {
            Ok(image) => image,
            Err(why) => return not_run("power cuts on ext4", &why),
        };
        own_processes();
        let peers = Peers::start().await;
        let ledger = Arc::new(Ledger::default());
        for cut in 0..cuts {
            let mut daemon = site.start().await;
            let (name, when) = (format!("p{cut}"), format!("before power cut {cut}"));
            let load = Load::start(PLAN, &name, &when, &ledger, &mut chance);
            tokio::time::sleep(Duration::from_millis(100 + chance.below(1_200))).await;
            // Proof that the cut is one: what nobody synced must not be on the disk.
            let witness = site.data().join(format!("witness-{cut}"));
            std::fs::write(&witness, b"never synced").unwrap();
            stop(&daemon).await;
            ledger.killed();
            image.cut();
            daemon.kill();
            load.stop().await;
            unmount(&site.data());
            image.settle();
            image.mount(&site.data()).unwrap();
            let kept = std::fs::read(&witness).unwrap_or_default();
            assert!(kept.is_empty(), "the device was not cut off: the witness is there");
        }
        let mut daemon = site.start().await;
        site.drained(Duration::from_secs(60)).await;
        daemon.kill();
        let tally = ledger.compare(&peers.arrived());
        println!("{cuts} power cuts, {:?}: {tally}", begun.elapsed());
        assert!(tally.accepted > cuts * 5, "no load to speak of: {tally}");
        assert!(tally.window <= WINDOW, "a duplicate outside of the documented window: {tally}");
        for word in ["panicked", "journal is lost", "has lost"] {
            assert!(!site.printed().contains(word), "{}", site.story());
        }
        unmount(&site.data());
    }
}

/// Stops every thread of a process, and waits until the last has come out of the kernel.
async fn stop(daemon: &Daemon) {
    daemon.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", daemon.id());
    let all_stopped = async || {
        let tasks = std::fs::read_dir(&tasks).ok()?;
        let mut stats = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            let (_, rest) = text.rsplit_once(") ")?;
            rest.chars().next()
        });
        stats.all(|state| state == 'T').then_some(())
    };
    let stopped = eventually(Duration::from_secs(30), all_stopped).await;
    assert!(stopped.is_some(), "the relay does not stop");
}

const PLAN: Plan = Plan {
    clients: 6,
    messages: 400,
};

/// As for `kill -9`.
const WINDOW: Duration = Duration::from_secs(3);
