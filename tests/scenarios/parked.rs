//! Messages that fail us and not their peers: they are set aside, and nothing else suffers.

use std::path::{Path, PathBuf};

use sealpost_tests::{Event, Relay, eventually};
use testkit::{Action, FakeMx, Rule};

use crate::net::{MESSAGE, Net, SOON, ok, sent};

testkit::net_test! {
    async fn h7_08_a_message_that_ends_the_relay_again_and_again_is_parked_and_others_flow() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let other = net.plain_mx("e.test", "127.0.0.26").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        // The first end only makes the relay careful; three more are on record.
        for n in 1..=4 {
            in_hand(&mx, n).await;
            relay.kill();
            relay.restart().await;
        }
        let parked = relay.wait_event(|e| e.is("queue.hold"), SOON).await;
        assert_eq!((parked.text("reason"), parked.text("queue_id")), ("parked", id.as_str()), "{parked}");
        let listed = ok(&relay, &["queue", "list", "--state", "held", "--reason", "parked", "--json"]).await;
        assert!(listed.stdout.contains(&id), "{listed:?}");
        let told = ok(&relay, &["queue", "show", &id]).await.stdout;
        assert!(told.contains("ended unexpectedly"), "{told}");
        let fine = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &fine).await;
        let tried = mx.commands().into_iter().filter(|c| c.starts_with("MAIL"));
        assert_eq!(tried.count(), 4, "it was left alone");
        // It stays so over an orderly end, and is tried again on an operator's word.
        mx.behave();
        relay.terminate(SOON).await;
        relay.restart().await;
        ok(&relay, &["queue", "release", "--reason", "parked"]).await;
        sent(&relay, &id).await;
        assert_eq!((mx.messages().len(), other.messages().len()), (1, 1));
    }

    async fn h7_01_what_only_helps_keeps_no_mail_waiting_when_it_cannot_be_read() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        in_hand(&mx, 1).await;
        relay.kill();
        let data = relay.folder().join("data");
        let marks = data.join("delivery/in-hand");
        std::fs::remove_file(&marks).unwrap();
        std::fs::create_dir(&marks).unwrap();
        std::fs::write(data.join("queue/FORMAT"), "").unwrap();
        std::fs::write(data.join("policies/FORMAT"), "garbage").unwrap();
        mx.behave();
        relay.restart().await;
        sent(&relay, &id).await;
        let story = relay.story();
        for said in ["in-hand", "queue/FORMAT", "policies/FORMAT"] {
            assert!(story.contains(said), "{said}: {story}");
        }
        let format = std::fs::read_to_string(data.join("queue/FORMAT")).unwrap();
        assert_eq!(format, "sealpost-queue 1\n");
    }

    async fn h7_08_a_message_whose_content_is_damaged_is_parked_after_three_tries() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let mut relay = Relay::start(net.config().set("queue.retry", "[\"1s\"]")).await;
        let body = [MESSAGE, b"here stands the marker\r\n"].concat();
        let id = relay.send("a@org.test", &["b@d.test"], &body).await;
        let body = [MESSAGE, b"another marker stands in this one\r\n"].concat();
        let other = relay.send("a@org.test", &["e@d.test"], &body).await;
        // What is damaged at the very end of the journal counts as torn: something has to follow.
        relay.send("a@org.test", &["d@d.test"], MESSAGE).await;
        in_hand(&mx, 1).await;
        relay.kill();
        let marker = b"here stands the marker";
        let (its_segment, its_place) = find(&relay, b"another marker stands");
        overwrite(&its_segment, its_place, b"A");
        let (segment, at) = find(&relay, marker);
        overwrite(&segment, at, b"H");
        mx.behave();
        relay.restart().await;
        relay.wait_for("delivery.held", &other, SOON).await;
        let held = relay.wait_for("delivery.held", &id, SOON).await;
        assert_eq!((held.text("reason"), held.text("dsn")), ("parked", "4.3.0"), "{held}");
        assert_eq!(held.at("/attempt"), 3, "{held}");
        let tries = |e: &&Event| e.is("delivery.deferred") && e.text("queue_id") == id;
        let events = relay.events();
        let tries: Vec<_> = events.iter().filter(tries).collect();
        assert!(tries.len() == 2 && tries.iter().all(|e| e.text("reason") == "local"), "{tries:?}");
        // The destination does not suffer.
        let fine = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        sent(&relay, &fine).await;
        let status = ok(&relay, &["queue", "list", "--reason", "parked", "--json"]).await.stdout;
        assert!(status.contains("\"held\""), "{status}");
        // Returned it comes without the content, and says so.
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        ok(&relay, &["queue", "bounce", &other]).await;
        let notice = org.wait_for_message(SOON).await.text();
        assert!(notice.contains("Nothing of your message is attached."), "{notice}");
        assert!(!notice.contains("rfc822-headers"), "{notice}");
        // Mended, it is delivered when it is tried again.
        overwrite(&segment, at, b"h");
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 3);
    }
}

/// Waits until the host has seen so many sessions get as far as MAIL.
async fn in_hand(mx: &FakeMx, sessions: usize) {
    let far = eventually(SOON, async || {
        let far = mx.commands().into_iter().filter(|c| c.starts_with("MAIL"));
        (far.count() >= sessions).then_some(())
    });
    assert_eq!(far.await, Some(()), "{} sessions", mx.sessions().len());
}

/// The segment of the queue's journal that holds this, and where.
fn find(relay: &Relay, marker: &[u8]) -> (PathBuf, u64) {
    let journal = relay.folder().join("data/queue/journal");
    for entry in std::fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        if let Some(at) = bytes.windows(marker.len()).position(|w| w == marker) {
            return (path, at as u64);
        }
    }
    panic!("no segment in {} has it", journal.display());
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}
