//! What an operator was told is done stays done, whatever happens next.

use std::collections::BTreeSet;
use std::time::Duration;

use sealpost_tests::eventually;
use serde_json::Value;

use crate::load::Session;
use crate::peers::Peers;
use crate::site::Site;

testkit::net_test! {
    async fn hold_release_cancel_and_bounce_survive_a_kill_and_the_loss_of_the_index() {
        let peers = Peers::start().await;
        peers.taken.pause().await;
        let site = Site::new(&Peers::config().set("queue.retry", "[\"1h\"]"));
        let mut daemon = site.start().await;
        let mut session = Session::open().await.unwrap();
        let mut ids = Vec::new();
        for n in 0..8 {
            let body = format!("Subject: {n}\r\n\r\n{n}\r\n");
            let (code, text) = session
                .message("a@org.test", &format!("u{n}@d.test"), body.as_bytes())
                .await
                .unwrap();
            assert_eq!(code, 250, "{text}");
            ids.push(text.split("queued as ").nth(1).unwrap().trim().to_owned());
        }
        // 0, 1: held; 2, 3: cancelled; 4: held and released; 5: bounced; 6, 7: as they were.
        let edit = async |verb: &str, ids: &[String]| {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            site.ok(&[&["queue", verb, "--yes"], &ids[..]].concat()).await;
        };
        edit("hold", &ids[..2]).await;
        edit("hold", &ids[4..5]).await;
        edit("release", &ids[4..5]).await;
        edit("bounce", &ids[5..6]).await;
        // The bounce is over when its DSN has been delivered and left the queue.
        let over = eventually(Duration::from_secs(30), async || {
            let events = site.events();
            let made = events.iter().find(|e| e.is("dsn.sent"))?;
            let dsn = made.text("dsn_id");
            let mut removed = events.iter().filter(|e| e.is("message.removed"));
            removed.any(|e| e.text("queue_id") == dsn).then_some(())
        });
        assert!(over.await.is_some(), "{}", site.story());
        edit("cancel", &ids[2..4]).await;
        // It has been answered: from this very moment on it holds.
        daemon.kill();
        for lost in ["nothing", "the index", "the index again"] {
            if lost != "nothing" {
                std::fs::remove_dir_all(site.data().join("queue/index")).unwrap();
            }
            let mut daemon = site.start().await;
            let listed = eventually(Duration::from_secs(20), async || {
                let all = site.cli(&["queue", "list", "--json"]).await;
                (all.code == Some(0)).then_some(all.stdout)
            });
            let all: Vec<Value> = listed.await.expect("a listing").lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let held: BTreeSet<&str> = all.iter().filter(|m| m["state"] == "held")
                .filter_map(|m| m["id"].as_str())
                .collect();
            let waiting: BTreeSet<&str> = all.iter().filter(|m| m["state"] != "held")
                .filter_map(|m| m["id"].as_str())
                .collect();
            let want = |some: &[&String]| some.iter().map(|id| id.as_str().to_owned()).collect::<BTreeSet<_>>();
            let owned = |some: BTreeSet<&str>| some.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(owned(held), want(&[&ids[0], &ids[1]]), "without {lost}");
            assert_eq!(owned(waiting), want(&[&ids[4], &ids[6], &ids[7]]), "without {lost}");
            daemon.kill();
        }
        // The bounce was told once, however often the relay started.
        assert_eq!(peers.sender.messages().len(), 1);
    }
}
