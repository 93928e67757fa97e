//! A disk that is full: mail is refused for now, nothing is lost, and all goes on when there is room.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use sealpost_tests::eventually;
use testkit::{Action, Rule};

use crate::load::Session;
use crate::mounts::tmpfs;
use crate::peers::Peers;
use crate::site::Site;

testkit::net_test! {
    async fn h6_01_e4_17_g5_05_a_full_disk_refuses_for_now_keeps_all_and_recovers() {
        let peers = Peers::start().await;
        // Nothing is delivered before the disk was full.
        let later = Action::Reply("451 4.3.2 not now".into());
        peers.taken.rule(Rule::always("MAIL", later));
        let site = Site::new(&Peers::config()
            .set("queue.minimum-free-space", "\"4MiB\"")
            .set("queue.retry", "[\"1h\"]"));
        tmpfs(&site.data(), "48m");
        let mut daemon = site.start().await;
        let mut accepted = 0;
        let mut session = Session::open().await.unwrap();
        // By mail alone: the floor holds.
        let refused = loop {
            let (code, text) = hand_over(&mut session, accepted).await;
            if code != 250 {
                break text;
            }
            accepted += 1;
        };
        assert!(refused.starts_with("452 4.3.1"), "{refused}");
        assert!(accepted > 50, "{accepted}");
        let (status, told) = site.page("/readyz").await.unwrap();
        assert!(status == 503 && told.contains("queue.minimum-free-space"), "{status} {told}");
        let told = site.event("store.full").await;
        assert!(told.contains(r#""kind":"space""#) && told.contains("(4 MiB)"), "{told}");
        // Now somebody else takes the rest, to the last octet.
        let filler = site.data().join("somebody-elses");
        fill(&filler);
        assert!(hand_over(&mut session, accepted).await.1.starts_with("452 4.3.1"));
        // A restart on the full disk: the queue opens, by its reserve, and serves.
        daemon.kill();
        let mut daemon = site.start().await;
        let listed = site.ok(&["queue", "list", "--json", "--limit", "100000"]).await;
        assert_eq!(listed.lines().count(), accepted, "{}", site.story());
        // What the start gave back is taken, too.
        let more = site.data().join("somebody-elses-too");
        fill(&more);
        let mut session = Session::open().await.unwrap();
        let (code, refused) = hand_over(&mut session, accepted).await;
        let left = free(&filler);
        assert!(
            refused.starts_with("452 4.3.1"),
            "{code} {refused} with {left} octets free:\n{}",
            site.story()
        );
        // Room again: accepted at once, without a restart, and all of it is delivered.
        std::fs::remove_file(&filler).unwrap();
        std::fs::remove_file(&more).unwrap();
        peers.taken.behave();
        site.retried(Duration::from_secs(60), || peers.taken.messages().len() >= accepted).await;
        let taken = eventually(Duration::from_secs(30), async || {
            let (code, _) = hand_over(&mut session, accepted).await;
            (code == 250).then_some(())
        });
        if taken.await.is_none() {
            let answer = hand_over(&mut session, accepted).await;
            panic!("{answer:?} with {} octets free:\n{}", free(&filler), site.story());
        }
        site.drained(Duration::from_secs(30)).await;
        daemon.kill();
        let mut markers: Vec<String> = peers.taken.messages().iter()
            .map(|m| m.recipients()[0].to_owned())
            .collect();
        markers.sort();
        markers.dedup();
        assert_eq!(markers.len(), accepted + 1);
        assert!(!site.printed().contains("panicked"), "{}", site.story());
    }

    async fn h6_10_without_inodes_mail_is_refused_and_the_cause_is_told() {
        let _peers = Peers::start().await;
        let site = Site::new(&Peers::config().set("queue.minimum-free-space", "\"4MiB\""));
        tmpfs(&site.data(), "64m,nr_inodes=3000");
        let mut daemon = site.start().await;
        let others = site.data().join("somebody-elses");
        std::fs::create_dir(&others).unwrap();
        let made = (0..).take_while(|n| File::create(others.join(n.to_string())).is_ok()).count();
        assert!(made > 1000, "{made}");
        let told = site.event("store.full").await;
        assert!(told.contains(r#""kind":"inodes""#) && told.contains("df -i"), "{told}");
        let (status, told) = site.page("/readyz").await.unwrap();
        assert!(status == 503 && told.contains("inodes left"), "{status} {told}");
        assert!(!told.contains("MiB are free"), "{told}");
        let mut session = Session::open().await.unwrap();
        assert!(hand_over(&mut session, 0).await.1.starts_with("452 4.3.1"));
        std::fs::remove_dir_all(&others).unwrap();
        site.event("store.has-room").await;
        assert_eq!(hand_over(&mut session, 0).await.0, 250);
        daemon.kill();
    }
}

async fn hand_over(session: &mut Session, n: usize) -> (u16, String) {
    let body = [b"Subject: x\r\n\r\n".as_slice(), &vec![b'x'; 900], b"\r\n"].concat();
    let body = body.repeat(100);
    let to = format!("u{n}@d.test");
    session.message("a@org.test", &to, &body).await.unwrap()
}

/// Writes until the file system has no octet left.
fn fill(path: &std::path::Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    let left = free(path);
    assert!(left < 4096, "{left} octets are left");
}

fn free(path: &std::path::Path) -> u64 {
    let stat = rustix::fs::statvfs(path.parent().unwrap()).unwrap();
    stat.f_bavail * stat.f_frsize
}
