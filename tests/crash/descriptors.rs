//! Too few file descriptors: the relay waits, and goes on when there are some again.

use std::time::Duration;

use sealpost_tests::Event;

use crate::load::Session;
use crate::mounts::own_processes;
use crate::peers::Peers;
use crate::site::{Site, Started};

testkit::net_test! {
    async fn h9_01_without_descriptors_clients_wait_nothing_spins_and_nothing_is_lost() {
        own_processes();
        let peers = Peers::start().await;
        let site = Site::new(&Peers::config().set("access.connections-per-client", "1000"));
        let limit = "--nofile=96:96";
        let through: Vec<String> = ["prlimit", limit].iter().map(|s| (*s).to_owned()).collect();
        let Started::Serving(mut daemon) = site.settled(site.spawn(&through)).await else {
            panic!("no start with {limit}:\n{}", site.story());
        };
        // Accepted before, and under way while everything is taken.
        let mut early = Session::open().await.unwrap();
        let mut crowd = Vec::new();
        for _ in 0..200 {
            crowd.push(tokio::net::TcpStream::connect(crate::site::MAIL_IN).await.unwrap());
        }
        let mut accepted = 0;
        for n in 0..20 {
            let to = format!("crowded{n}@d.test");
            let (code, text) = early.message("a@org.test", &to, BODY).await.unwrap();
            // For now, if at all.
            assert!(code == 250 || (400..500).contains(&code), "{text}");
            accepted += usize::from(code == 250);
        }
        let begun = processor_time(daemon.id());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let spent = processor_time(daemon.id()) - begun;
        assert!(spent < Duration::from_millis(1_500), "it spins: {spent:?} in two seconds");
        drop(crowd);
        let mut late = None;
        let served = sealpost_tests::eventually(Duration::from_secs(20), async || {
            late = Session::open().await.ok();
            late.is_some().then_some(())
        });
        assert!(served.await.is_some(), "{}", site.story());
        let mut late = late.unwrap();
        for n in 0..10 {
            let to = format!("after{n}@d.test");
            assert_eq!(late.message("a@org.test", &to, BODY).await.unwrap().0, 250);
        }
        site.retried(Duration::from_secs(60), || peers.taken.messages().len() >= accepted + 10).await;
        // Nobody else is to blame, and no destination is left alone for it.
        let blamed = |e: &Event| e.is("destination.suspended") || e.text("reason") == "connect";
        assert!(!site.events().iter().any(blamed), "{}", site.story());
        assert!(daemon.status().is_none(), "{}", site.story());
        assert!(!site.printed().contains("panicked"), "{}", site.story());
        daemon.kill();
    }
}

/// User and system time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

const BODY: &[u8] = b"Subject: x\r\n\r\nHello.\r\n";
