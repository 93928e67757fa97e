//! A sync that fails once: what the kernel kept is unknown, so nothing more is promised.

use std::time::Duration;

use sealpost_tests::eventually;

use crate::inject::strace;
use crate::load::Session;
use crate::peers::Peers;
use crate::site::{Site, Started};

testkit::net_test! {
    async fn h6_03_e4_14_a_failed_sync_stops_accepting_and_leasing_says_so_and_ends_with_74() {
        let peers = Peers::start().await;
        // No attempts of their own while we look: mail waits from the start.
        peers.taken.pause().await;
        let site = Site::new(&Peers::config().set("queue.retry", "[\"2s\"]"));
        let mut before = site.start().await;
        let mut session = Session::open().await.unwrap();
        for n in 0..5 {
            let kept = session.message("a@org.test", &format!("kept{n}@d.test"), BODY).await.unwrap();
            assert_eq!(kept.0, 250, "{kept:?}");
        }
        before.kill();
        // Every sync fails, from the first one of the journal's writer that is not the start's own.
        let through = strace("fdatasync:error=EIO:when=1+");
        let Started::Serving(mut daemon) = site.settled(site.spawn(&through)).await else {
            panic!("no start:\n{}", site.story());
        };
        // A session that is past DATA keeps the process until it is answered.
        let mut slow = Session::open().await.unwrap();
        for line in ["MAIL FROM:<a@org.test>\r\n", "RCPT TO:<slow@d.test>\r\n", "DATA\r\n"] {
            assert!(slow.say(line.as_bytes()).await.unwrap() < 400);
        }
        slow.write(b"Subject: slow\r\n\r\n").await.unwrap();
        let mut session = Session::open().await.unwrap();
        let lost = session.message("a@org.test", "refused@d.test", BODY).await.unwrap();
        assert!(lost.1.starts_with("451 4.3."), "not promised: {lost:?}");
        let told = eventually(Duration::from_secs(5), async || {
            let (status, text) = site.page("/readyz").await?;
            (status == 503).then_some(text)
        });
        let told = told.await.expect("readyz says no");
        assert!(told.contains("store failed") && told.contains("Input/output error"), "{told}");
        let (code, text) = slow.message_end(BODY).await.unwrap();
        assert_eq!(code, 451, "{text}");
        let status = daemon.wait(Duration::from_secs(15)).await;
        assert_eq!(status.code(), Some(74), "{}", site.story());
        let failed: Vec<_> = site.events().into_iter().filter(|e| e.is("store.failed")).collect();
        assert_eq!(failed.len(), 1, "{}", site.story());
        let detail = failed[0].text("detail");
        assert!(detail.contains("sync") && detail.contains(".seg"), "which file: {detail}");
        // What had been promised before is there.
        peers.taken.resume().await;
        let mut daemon = site.start().await;
        site.ok(&["queue", "retry", "--all", "--yes"]).await;
        site.drained(Duration::from_secs(60)).await;
        daemon.kill();
        for n in 0..5 {
            let to = format!("kept{n}@d.test");
            let came = peers.taken.messages().iter().any(|m| m.recipients() == [to.as_str()]);
            assert!(came, "{to} is lost");
        }
    }

    async fn h10_04_an_action_that_a_failed_sync_stops_is_audited_with_its_error() {
        let peers = Peers::start().await;
        peers.taken.pause().await;
        let site = Site::new(&Peers::config().set("queue.retry", "[\"1h\"]"));
        let mut before = site.start().await;
        let mut session = Session::open().await.unwrap();
        for n in 0..3 {
            let kept = session.message("a@org.test", &format!("kept{n}@d.test"), BODY).await.unwrap();
            assert_eq!(kept.0, 250, "{kept:?}");
        }
        before.kill();
        let through = strace("fdatasync:error=EIO:when=1+");
        let Started::Serving(mut daemon) = site.settled(site.spawn(&through)).await else {
            panic!("no start:\n{}", site.story());
        };
        let cancelled = site.cli(&["queue", "cancel", "--all", "--yes", "--because", "ticket 3"]).await;
        assert!(cancelled.code.is_some_and(|code| code != 0), "{cancelled:?}");
        let status = daemon.wait(Duration::from_secs(15)).await;
        assert_eq!(status.code(), Some(74), "{}", site.story());
        let events = site.events();
        let audited = events.iter().find(|e| e.is("admin.action") && e.text("action") == "queue cancel");
        let audited = audited.unwrap_or_else(|| panic!("{}", site.story()));
        assert!(audited.text("error").contains("Input/output error"), "{audited}");
        assert_eq!((audited.text("matched"), audited.text("reason")), ("0", "ticket 3"), "{audited}");
        // Of what may still be there nobody was told that it is gone.
        assert!(!events.iter().any(|e| e.is("message.removed")), "{}", site.story());
    }
}

const BODY: &[u8] = b"Subject: x\r\n\r\nHello.\r\n";
