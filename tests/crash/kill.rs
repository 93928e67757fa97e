//! `kill -9` at random moments, under load: in the middle of anything, starts included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chance::{Chance, number};
use crate::ledger::Ledger;
use crate::load::{Load, Plan};
use crate::peers::Peers;
use crate::site::{Site, Started};

testkit::net_test! {
    async fn h7_01_h7_02_h7_03_h7_04_e4_14_f2_11_killed_at_random_moments_nothing_is_lost() {
        let begun = Instant::now();
        let cycles = number("CRASH_CYCLES", 20);
        let mut chance = Chance::seeded("kill -9 at random moments");
        let peers = Peers::start().await;
        let site = Site::new(&Peers::config());
        let ledger = Arc::new(Ledger::default());
        for cycle in 0..cycles {
            let mut daemon = site.spawn(&[]);
            if chance.below(5) == 0 {
                // While it still reads what the last one left.
                tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
                daemon.kill();
                ledger.killed();
                continue;
            }
            let Started::Serving(mut daemon) = site.settled(daemon).await else {
                panic!("cycle {cycle}: ended by itself:\n{}", site.story());
            };
            let (name, when) = (format!("k{cycle}"), format!("in cycle {cycle}"));
            let load = Load::start(PLAN, &name, &when, &ledger, &mut chance);
            tokio::time::sleep(Duration::from_millis(20 + chance.below(1_200))).await;
            daemon.kill();
            ledger.killed();
            load.stop().await;
        }
        // Mail that waits for its second attempt comes then: the retry is a second away.
        let mut daemon = site.start().await;
        site.drained(Duration::from_secs(90)).await;
        daemon.kill();
        let tally = ledger.compare(&peers.arrived());
        println!("{cycles} cycles, {:?}: {tally}", begun.elapsed());
        assert!(tally.accepted > cycles * 5, "no load to speak of: {tally}");
        assert!(tally.window <= WINDOW, "a duplicate outside of the documented window: {tally}");
        for word in ["panicked", "journal is lost", "has lost"] {
            assert!(!site.printed().contains(word), "{}", site.story());
        }
        // Nothing finished comes back with another start, nor with the loss of the index.
        std::fs::remove_dir_all(site.data().join("queue/index")).unwrap();
        let before = peers.arrived().len();
        let mut daemon = site.start().await;
        site.drained(Duration::from_secs(30)).await;
        daemon.kill();
        assert_eq!(peers.arrived().len(), before, "finished mail came back");
    }
}

const PLAN: Plan = Plan {
    clients: 6,
    messages: 400,
};

/// `docs/durability.md` says 0.2 s and one sync, which may take its time on a busy machine.
const WINDOW: Duration = Duration::from_secs(3);
