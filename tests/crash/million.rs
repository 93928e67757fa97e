//! A queue of very many deferred messages: memory, starts, listings, and mail that is accepted
//! meanwhile. `CRASH_MESSAGES=1000000 TESTKIT_LIMIT=7200 SEALPOST_BIN=…/release/sealpost` is the
//! long run; without it a small one shows that all of it works.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sealpost_tests::{Daemon, eventually};
use testkit::{RecordType, ZoneFault};
use tokio::task::JoinSet;

use crate::chance::number;
use crate::load::Session;
use crate::mounts::own_processes;
use crate::peers::Peers;
use crate::site::Site;

testkit::net_test! {
    async fn h9_02_a_large_queue_of_deferred_mail_starts_lists_and_accepts_quickly() {
        own_processes();
        let messages = number("CRASH_MESSAGES", 4_000);
        let domains = (messages / 100).max(10);
        let peers = Peers::start().await;
        // No domain but the peers' can be looked up.
        for n in 0..domains {
            for kind in [RecordType::MX, RecordType::TXT] {
                let name = if kind == RecordType::TXT { format!("_mta-sts.m{n}.test") } else { format!("m{n}.test") };
                peers.zone.fault(&name, kind, ZoneFault::ServFail);
            }
        }
        let site = Site::new(&Peers::config()
            .set("queue.retry", "[\"5h\"]")
            .set("access.connections-per-client", "1000")
            .set("log.level", "\"error\""));
        let mut daemon = site.start().await;
        let tenth = messages / 10;
        let mut rates = Vec::new();
        for part in 0..10 {
            let begun = Instant::now();
            fill(part * tenth..(part + 1) * tenth, domains).await;
            rates.push(tenth as f64 / begun.elapsed().as_secs_f64());
        }
        println!("{messages} messages in {domains} domains; accepted per second, by tenths: {rates:.0?}");
        let deferred = eventually(Duration::from_secs(600), async || {
            let (_, text) = site.page("/metrics").await?;
            let line = text.lines().find(|l| l.contains("state=\"deferred\""))?;
            let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
            (count as usize >= messages).then_some(())
        });
        assert!(deferred.await.is_some(), "{}", site.story());
        println!("resident: {} MiB", memory(&daemon));
        let begun = Instant::now();
        let listed = site.ok(&["queue", "list", "--domain", "m7.test", "--json", "--limit", "1000"]).await;
        println!("queue list --domain: {:?}", begun.elapsed());
        assert_eq!(listed.lines().count(), messages / domains);
        let begun = Instant::now();
        let summary = site.ok(&["queue", "summary", "--json"]).await;
        println!("queue summary: {:?}", begun.elapsed());
        assert!(summary.contains("m7.test"), "{summary}");
        daemon.signal(Signal::TERM);
        daemon.wait(Duration::from_secs(60)).await;
        for (n, end) in ["a clean end", "kill -9"].into_iter().enumerate() {
            if n > 0 {
                daemon.kill();
            }
            let begun = Instant::now();
            daemon = site.start().await;
            let serving = begun.elapsed();
            let mut session = Session::open().await.unwrap();
            let sent = session.message("a@org.test", "now@d.test", b"Subject: x\r\n\r\nx\r\n").await;
            assert_eq!(sent.unwrap().0, 250);
            peers.taken.wait_for_messages(n + 1, Duration::from_secs(60)).await;
            let delivered = begun.elapsed();
            assert!(delivered < Duration::from_secs(60), "{delivered:?} after {end}");
            println!(
                "start after {end}: serves after {serving:?}, first delivery after {delivered:?}, resident {} MiB",
                memory(&daemon)
            );
            // A large index is read behind the start; until that is done a listing says so.
            let whole = eventually(Duration::from_secs(300), async || {
                let listed = site.cli(&["queue", "list", "--domain", "m7.test", "--json", "--limit", "1000"]).await;
                (listed.stdout.lines().count() == messages / domains).then_some(())
            });
            assert!(whole.await.is_some(), "after {end}: {}", site.story());
            println!(
                "all listed after {:?}, resident {} MiB",
                begun.elapsed(),
                memory(&daemon)
            );
        }
        drain(&site, &peers, messages, domains).await;
        println!("resident after the drain: {} MiB", memory(&daemon));
    }
}

/// The world recovers: all is delivered, and the room on the disk comes back.
async fn drain(site: &Site, peers: &Peers, messages: usize, domains: usize) {
    let (before, _) = disk(site);
    peers.zone.heal_all();
    for n in 0..domains {
        peers.zone.mx(&format!("m{n}.test"), 10, "mx.d.test");
    }
    let begun = Instant::now();
    let mut ordered: Option<Instant> = None;
    let mut said = Instant::now();
    let empty = eventually(Duration::from_secs(1_800), async || {
        // What was looked up just before is believed for a moment yet, and tried once more then. Not too
        // often: the order is written down for each message.
        if ordered.is_none_or(|at| at.elapsed() > RETRY_EVERY) {
            site.ok(&["queue", "retry", "--all", "--yes"]).await;
            ordered = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_, text) = site.page("/metrics").await?;
        let counts = text
            .lines()
            .filter(|l| l.starts_with("sealpost_queue_messages{"));
        let counts: Vec<f64> = counts
            .filter_map(|l| l.rsplit(' ').next()?.parse().ok())
            .collect();
        if said.elapsed() > Duration::from_secs(20) {
            said = Instant::now();
            println!(
                "{} left after {:?}",
                counts.iter().sum::<f64>(),
                begun.elapsed()
            );
        }
        (!counts.is_empty() && counts.iter().sum::<f64>() == 0.0).then_some(())
    });
    assert!(empty.await.is_some(), "not drained: {}", site.story());
    let drained = begun.elapsed();
    let arrived = peers.taken.messages();
    let recipients: BTreeSet<&str> = arrived
        .iter()
        .flat_map(|m| &m.to)
        .map(|(to, _)| to.as_str())
        .collect();
    // Two came while they waited, for one and the same; the kill may have had one of them repeated.
    assert_eq!(recipients.len(), messages + 1);
    assert!(
        arrived.len() <= messages + 3,
        "each once: {}",
        arrived.len()
    );
    println!(
        "drained after {drained:?}: {:.0} a second",
        messages as f64 / drained.as_secs_f64()
    );
    let begun = Instant::now();
    let returned = eventually(Duration::from_secs(600), async || {
        (disk(site).0 <= 2 * SEGMENT).then_some(())
    });
    let back = returned.await.is_some();
    let (journal, index) = disk(site);
    println!(
        "journal {} MiB before, {} after {:?}; index {} MiB",
        before >> 20,
        journal >> 20,
        begun.elapsed(),
        index >> 20
    );
    assert!(
        back,
        "H6: within two segments of what is live, which is nothing"
    );
}

/// What the journal and the index of the queue take on the disk.
fn disk(site: &Site) -> (u64, u64) {
    let size = |folder: &str| {
        let files = std::fs::read_dir(site.data().join("queue").join(folder)).unwrap();
        files
            .map(|file| file.unwrap().metadata().map_or(0, |m| m.blocks() * 512))
            .sum()
    };
    (size("journal"), size("index"))
}

/// Hands over messages of these numbers, over many sessions.
async fn fill(numbers: std::ops::Range<usize>, domains: usize) {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, end) = (Arc::clone(&next), numbers.end);
        clients.spawn(async move {
            let mut session = Session::open().await.unwrap();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= end {
                    return;
                }
                let (sender, domain) = (n % 1_000, n % domains);
                let commands = format!(
                    "MAIL FROM:<s{sender}@org.test>\r\nRCPT TO:<u{n}@m{domain}.test>\r\nDATA\r\n"
                );
                session.write(commands.as_bytes()).await.unwrap();
                for _ in 0..3 {
                    let (code, text) = session.reply().await.unwrap();
                    assert!(code < 400, "{text}");
                }
                let (code, text) = session.message_end(BODY).await.unwrap();
                assert_eq!(code, 250, "{text}");
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// Mebibytes of memory that the daemon has; no more than a small machine can spare.
fn memory(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    let megabytes = kilobytes.parse::<u64>().unwrap() >> 10;
    assert!(megabytes < 400, "H9-02: {megabytes} MiB");
    megabytes
}

const RETRY_EVERY: Duration = Duration::from_secs(20);
const CLIENTS: usize = 30;
const SEGMENT: u64 = 64 << 20;
const BODY: &[u8] = b"From: s@org.test\r\nTo: u@m.test\r\nSubject: one of many\r\n\r\nHello.\r\n";
