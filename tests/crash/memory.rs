//! A control group whose memory runs out: input is refused before the kernel ends the process, and
//! if it ends it all the same, a restart has what was answered 250.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::Session;
use crate::mounts::{not_run, own_processes};
use crate::peers::Peers;
use crate::site::{MAIL_IN, Site, Started};

const SOON: Duration = Duration::from_secs(30);

testkit::net_test! {
    async fn h9_04_input_is_refused_before_memory_runs_out_and_a_kill_loses_nothing() {
        own_processes();
        let group = match Group::make() {
            Ok(group) => group,
            Err(why) => return not_run("a limit on memory", &why),
        };
        let peers = Peers::start().await;
        let site = Site::new(&Peers::config().set("access.connections-per-client", "1000"));
        let Started::Serving(mut daemon) = site.settled(site.spawn(&group.enter())).await else {
            panic!("no start in a control group:\n{}", site.story());
        };
        let mut there = Session::open().await.unwrap();
        let (code, text) = there.message("a@org.test", "first@d.test", BODY).await.unwrap();
        assert_eq!(code, 250, "{text}");
        // A tenth and 32 MiB are left.
        let used = group.used();
        group.limit(used * 10 / 9 + (32 << 20));
        let mut open = Vec::new();
        let scarce = || site.story().contains("process.memory-scarce");
        for _ in 0..400 {
            if scarce() {
                break;
            }
            match half_a_message(200 << 10).await {
                Some(session) => open.push(session),
                None => assert!(daemon.status().is_none(), "it is gone: {}", site.story()),
            }
            // Not faster than it can look.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let said = sealpost_tests::eventually(SOON, async || scarce().then_some(()));
        assert!(said.await.is_some(), "{} of {}: {}", group.used(), group.limited(), site.story());
        let mut refused = TcpStream::connect(MAIL_IN).await.unwrap();
        let greeting = line(&mut refused).await.unwrap();
        assert!(greeting.starts_with("421 4.3.2 "), "{greeting}");
        let (status, said) = site.page("/readyz").await.unwrap();
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("accepts mail: no: little memory") && said.contains("delivers mail: yes"), "{said}");
        let (code, text) = there.message("a@org.test", "second@d.test", BODY).await.unwrap();
        assert_eq!(code, 452, "{text}");
        assert!(text.contains("4.3.2"), "{text}");
        assert!(daemon.status().is_none(), "it lives: {}", site.story());
        // Whoever has gone makes room: a few at least are served.
        drop(open);
        let served = sealpost_tests::eventually(SOON, async || {
            let mut session = Session::open().await.ok()?;
            let sent = session.message("a@org.test", "third@d.test", BODY).await.ok()?;
            (sent.0 == 250).then_some(())
        });
        assert!(served.await.is_some(), "{}", site.story());
        // The kernel's own way, and a start without the limit.
        daemon.kill();
        let Started::Serving(mut again) = site.settled(site.spawn(&[])).await else {
            panic!("no start afterwards:\n{}", site.story());
        };
        let all = || peers.taken.messages().len() >= 2;
        site.retried(Duration::from_secs(60), all).await;
        again.kill();
    }
}

/// A connection with so much of a message, of which there is more to come.
async fn half_a_message(octets: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(MAIL_IN).await.ok()?;
    let said = [
        "EHLO c.test",
        "MAIL FROM:<a@org.test>",
        "RCPT TO:<b@d.test>",
        "DATA",
    ];
    if !line(&mut stream).await?.starts_with("220 ") {
        return None;
    }
    for command in said {
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await
            .ok()?;
        let mut reply = line(&mut stream).await?;
        while reply.as_bytes().get(3) == Some(&b'-') {
            reply = line(&mut stream).await?;
        }
        if !reply.starts_with(['2', '3']) {
            return None;
        }
    }
    let text = "x".repeat(78) + "\r\n";
    stream
        .write_all(text.repeat(octets / text.len()).as_bytes())
        .await
        .ok()?;
    Some(stream)
}

/// A line of a reply, octet by octet: there is no more than that.
async fn line(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with('\n') {
        text.push(char::from(stream.read_u8().await.ok()?));
    }
    Some(text)
}

/// A control group of the first or second version that is this test's own.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    used: &'static str,
}

impl Group {
    fn make() -> Result<Self, String> {
        let name = format!("sealpost-test-{:x}", rand());
        let versions = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "total_rss ",
            ),
            ("/sys/fs/cgroup", "memory.max", "anon "),
        ];
        let mut why = String::new();
        for (top, limit, used) in versions {
            let folder = PathBuf::from(top).join(&name);
            let made =
                std::fs::create_dir(&folder).and_then(|()| std::fs::metadata(folder.join(limit)));
            match made {
                Ok(_) => {
                    return Ok(Self {
                        folder,
                        limit,
                        used,
                    });
                }
                Err(error) => why = format!("{}: {error}", folder.display()),
            }
            let _ = std::fs::remove_dir(&folder);
        }
        Err(why)
    }

    /// What enters the group and goes on as the command behind it.
    fn enter(&self) -> Vec<String> {
        let procs = self.folder.join("cgroup.procs");
        let script = format!("echo $$ > '{}' && exec \"$@\"", procs.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).into()
    }

    fn used(&self) -> u64 {
        let stat = std::fs::read_to_string(self.folder.join("memory.stat")).unwrap();
        let line = stat.lines().find_map(|l| l.strip_prefix(self.used));
        line.unwrap().trim().parse().unwrap()
    }

    fn limit(&self, octets: u64) {
        std::fs::write(self.folder.join(self.limit), octets.to_string()).unwrap();
    }

    fn limited(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(self.limit)).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It goes once its processes have.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn rand() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()
}

const BODY: &[u8] = b"Subject: memory\r\n\r\nx\r\n";
