//! The listener under load: what floods and slow peers may not touch, and what it costs.
//!
//! What a connection costs is measured with few of them, unless more are asked for: 5,000 idle ones,
//! or 200 with a message of 50 MB each (10 GB of disk), by
//! `LOAD_CONNECTIONS=5000 TESTKIT_LIMIT=3600 cargo test -p sealpost-tests --test scenarios idle -- --nocapture`
//! and `LOAD_CONNECTIONS=200 LOAD_MEGABYTES=50 … scenarios large_messages -- --nocapture`.

use std::time::{Duration, Instant};

use sealpost_tests::{Relay, SmtpClient};
use testkit::{Action, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::net::{MESSAGE, Net, SOON, sent};

testkit::net_test! {
    async fn h5_04_g5_07_a_flood_of_connections_meets_its_caps_and_touches_nobody_else() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        let config = net.config()
            .set("access.connections", "60")
            .set("access.connections-per-client", "20");
        let relay = Relay::start(config).await;
        let mut there = relay.client().await;
        let mut open = Vec::new();
        let mut refused = Vec::new();
        for n in 0..300 {
            let mut stream = connect(&format!("127.0.1.{}", n % 5 + 1)).await;
            let greeting = line(&mut stream).await;
            if greeting.starts_with("220 ") {
                open.push(stream);
            } else {
                assert!(greeting.starts_with("421 4.7.0 "), "{greeting}");
                assert!(greeting.contains("try again in a minute"), "{greeting}");
                refused.push(greeting);
            }
        }
        assert_eq!(open.len(), 59, "60 with the one that was there");
        assert_eq!(refused.len(), 241);
        let id = there.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let (code, metrics) = relay.http_get("/metrics").await;
        assert_eq!(code, 200, "the health port is separate");
        let line = "sealpost_connections_refused_total{limit=\"connections\"} 241";
        assert!(metrics.lines().any(|l| l == line), "{metrics}");
        let lines = relay.events().iter().filter(|e| e.is("smtp.in.turned-away")).count();
        assert!((1..60).contains(&lines), "{lines} lines for 241 refusals");
        drop(open);
        // One address alone: the cap for it holds, others are served.
        let mut mine = Vec::new();
        loop {
            let mut stream = connect("127.0.2.1").await;
            let greeting = self::line(&mut stream).await;
            if greeting.contains("from your address") {
                break;
            }
            // Until the flood's places are free again there may be too many in all.
            if greeting.starts_with("220 ") {
                mine.push(stream);
            }
        }
        assert_eq!(mine.len(), 20);
        let mut other = connect("127.0.2.2").await;
        assert!(self::line(&mut other).await.starts_with("220 "));
    }

    async fn e4_16_the_reply_to_the_final_dot_waits_for_no_delivery() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let relay = Relay::start(net.config()).await;
        let mut client = relay.client().await;
        // The first delivery hangs for minutes; the replies to these come meanwhile.
        let began = Instant::now();
        for _ in 0..50 {
            client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let delivered = relay.events().into_iter().filter(|e| e.text("event").starts_with("delivery."));
        assert_eq!(delivered.count(), 0, "no delivery has ended");
    }

    async fn an_idle_connection_costs_little() {
        let connections = asked("LOAD_CONNECTIONS", 400);
        let net = Net::start().await;
        let config = net.config()
            .set("access.connections", "6000")
            .set("access.connections-per-client", "6000");
        let relay = Relay::start(config).await;
        drop(relay.client().await);
        let before = resident(&relay);
        let mut open = Vec::new();
        for n in 0..connections {
            let mut stream = connect(&format!("127.0.{}.{}", n / 250 + 1, n % 250 + 1)).await;
            assert!(line(&mut stream).await.starts_with("220 "));
            stream.write_all(b"EHLO client.test\r\n").await.unwrap();
            while !line(&mut stream).await.starts_with("250 ") {}
            open.push(stream);
        }
        // Buffers of busy sessions go after a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let after = resident(&relay);
        let more = after.saturating_sub(before);
        println!("{connections} idle sessions: {before} KiB before, {after} KiB after, {more} KiB more");
        // 5,000 of them stay under 100 MiB.
        assert!(more < connections * 100 * 1024 / 5000, "{more} KiB for {connections}");
        drop(open);
    }

    async fn h9_05_large_messages_at_once_take_little_memory() {
        let connections = asked("LOAD_CONNECTIONS", 20);
        let size = asked("LOAD_MEGABYTES", 4) * 1_000_000;
        let net = Net::start().await;
        let config = net.config().set("access.connections-per-client", "1000");
        let relay = Relay::start(config).await;
        let mut sending = tokio::task::JoinSet::new();
        let began = Instant::now();
        let before = resident(&relay);
        for _ in 0..connections {
            let mut client = relay.client().await;
            sending.spawn(async move { send_large(&mut client, size as usize).await });
        }
        let mut most = before;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = tick.tick() => most = most.max(resident(&relay)),
                done = sending.join_next() => match done {
                    Some(done) => done.unwrap(),
                    None => break,
                },
            }
        }
        let took = began.elapsed();
        println!("{connections} messages of {size} octets in {took:?}: {before} KiB before, at most {most} KiB");
        // 200 of them stay within 300 MiB in all.
        assert!(most < 64 * 1024 + connections * 236 * 1024 / 200, "{most} KiB for {connections}");
    }

    async fn e4_16_the_reply_to_the_final_dot_is_quick() {
        let messages = asked("LOAD_MESSAGES", 10);
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = Relay::start(net.config()).await;
        let message = [MESSAGE, &vec![b'x'; 10 << 10], b"\r\n"].concat();
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (mut client, message) = (relay.client().await, message.clone());
            sending.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..messages {
                    client.command("MAIL FROM:<a@org.test>").await.demand(250);
                    client.command("RCPT TO:<b@d.test>").await.demand(250);
                    client.command("DATA").await.demand(354);
                    client.write(&message).await;
                    let dot = Instant::now();
                    client.write(b".\r\n").await;
                    client.reply().await.demand(250);
                    times.push(dot.elapsed());
                }
                times
            });
        }
        let mut times: Vec<Duration> = sending.join_all().await.concat();
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100];
        println!("{} replies to the final dot: median {:?}, p99 {p99:?}", times.len(), times[times.len() / 2]);
        // Row E4-16 says 1 s; machines that run tests do much besides.
        assert!(p99 < Duration::from_secs(10), "{p99:?}");
    }
}

/// A number from the environment, or else this one.
fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |n| n.parse().expect("a number"))
}

async fn send_large(client: &mut SmtpClient, size: usize) {
    client
        .command(&format!("MAIL FROM:<a@org.test> SIZE={size}"))
        .await
        .demand(250);
    client.command("RCPT TO:<b@large.test>").await.demand(250);
    client.command("DATA").await.demand(354);
    client.write(b"Subject: large\r\n\r\n").await;
    let mut block = vec![b'x'; 64 << 10];
    for end in block.chunks_mut(1024) {
        let n = end.len();
        end[n - 2..].copy_from_slice(b"\r\n");
    }
    let mut left = size.saturating_sub(4096);
    while left > block.len() {
        client.write(&block).await;
        left -= block.len();
    }
    client.write(b".\r\n").await;
    client.reply().await.demand(250);
}

/// The relay's folder in `/proc`.
pub(crate) fn process(relay: &Relay) -> std::path::PathBuf {
    let file = relay.config_path().display().to_string();
    let is_relay = |path: &std::path::PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&file)
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let process = all.flatten().map(|e| e.path()).find(is_relay);
    process.unwrap()
}

/// Resident memory of the relay in KiB. Its process is found by its configuration file: `/proc` may
/// count processes from outside of the test's namespace.
fn resident(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(process(relay).join("status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

async fn connect(from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket
        .connect("127.0.0.1:2525".parse().unwrap())
        .await
        .unwrap()
}

async fn line(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        while !text.ends_with('\n') {
            match stream.read_u8().await {
                Ok(octet) => text.push(char::from(octet)),
                Err(_) => return,
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("a line");
    text
}
