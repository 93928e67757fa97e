//! kill -9 of the real daemon around policy fetches, and damage to its policy store: what was relied
//! on before is in force after, or the mail waits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealpost_tests::{Event, Relay, eventually};
use testkit::{FakeMx, PolicyFault, RecordType, StartTls};

use crate::clock::{DAY, write_last_time};
use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn a7_03_h7_06_a_policy_that_was_relied_on_is_there_after_a_kill_at_any_time() {
        let net = Net::start().await;
        let mut relay = net.relay().await;
        // In each round the relay dies a little later in a burst of first contacts.
        for (round, deliveries) in [1, 3, 6].into_iter().enumerate() {
            let names: Vec<String> = (0..8).map(|n| format!("d{n}.r{round}.test")).collect();
            let mut peers = Vec::new();
            for (n, name) in names.iter().enumerate() {
                peers.push(net.mx(name, &format!("127.0.{}.{}", round + 1, n + 1)).await);
                net.enforce(name);
                // Some answers come while others are waited for.
                let delay = Duration::from_millis(40 * n as u64);
                net.host.fault(name, PolicyFault::Delay(delay));
            }
            let before = relay.events().len();
            for name in &names {
                relay.send("a@org.test", &[&format!("b@{name}")], MESSAGE).await;
            }
            relay.wait_event_after(before, nth_delivery(deliveries), SOON).await;
            relay.kill();
            let relied_on = enforced(&relay, before);
            assert!(relied_on.len() >= deliveries, "{relied_on:?}");

            // Everything is blocked now, and the hosts have no TLS.
            net.host.pause().await;
            for (name, mx) in names.iter().zip(&peers) {
                net.zone.remove(&format!("_mta-sts.{name}"), RecordType::TXT);
                mx.script(|s| s.starttls = StartTls::Off).forget();
            }
            relay.restart().await;
            for (name, mx) in names.iter().zip(&peers) {
                if !relied_on.contains(name) {
                    continue;
                }
                let id = relay.send("c@org.test", &[&format!("d@{name}")], MESSAGE).await;
                let event = deferred(&relay, &id).await;
                assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
                assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
                assert_eq!(event.at("/policies/0/from"), "cache", "{event}");
                mx.assert_no_mail();
            }
            net.host.resume().await;
        }
    }

    async fn h6_14_a_lost_or_damaged_index_of_policies_is_rebuilt() {
        let net = Net::start().await;
        let (mut relay, mx) = known(&net).await;
        let index = store(&relay).join("index");
        for kind in ["deleted", "cut", "flipped"] {
            relay.kill();
            let db = index.join("db");
            match kind {
                "deleted" => std::fs::remove_dir_all(&index).unwrap(),
                "cut" => std::fs::write(&db, b"").unwrap(),
                _ => {
                    let mut bytes = std::fs::read(&db).unwrap();
                    let used = bytes.iter().rposition(|b| *b != 0).unwrap();
                    bytes[..used].iter_mut().step_by(97).for_each(|b| *b ^= 4);
                    std::fs::write(&db, bytes).unwrap();
                }
            }
            let before = relay.events().len();
            relay.restart().await;
            let rebuilt = |e: &Event| e.is("policy.store-rebuilt");
            let event = relay.wait_event_after(before, rebuilt, SOON).await;
            assert_eq!(event.text("part"), "index", "{kind}: {event}");
            assert_eq!(event.at("/policies"), 1, "{kind}: {event}");
            still_enforced(&relay, &mx).await;
        }
    }

    async fn h6_05_h6_14_a_damaged_policy_journal_is_healed_from_the_index() {
        let net = Net::start().await;
        let (mut relay, mx) = known(&net).await;
        // An orderly end brings the index up to date; a crash leaves it a moment behind.
        relay.terminate(SOON).await;
        flip_policy(&store(&relay));
        let before = relay.events().len();
        relay.restart().await;
        let rebuilt = |e: &Event| e.is("policy.store-rebuilt");
        let event = relay.wait_event_after(before, rebuilt, SOON).await;
        assert_eq!(event.text("part"), "journal", "{event}");
        assert_eq!(event.text("level"), "warn", "{event}");
        still_enforced(&relay, &mx).await;
        // It is whole again: the index is not needed for it any more.
        relay.kill();
        std::fs::remove_dir_all(store(&relay).join("index")).unwrap();
        relay.restart().await;
        still_enforced(&relay, &mx).await;
    }

    async fn h8_01_a_jump_of_the_clock_is_told_while_the_policies_are_lost() {
        let net = Net::start().await;
        let (mut relay, _mx) = known(&net).await;
        let written = relay.folder().join("data/clock");
        assert!(eventually(SOON, async || written.exists().then_some(())).await.is_some());
        relay.terminate(SOON).await;
        std::fs::remove_dir_all(store(&relay)).unwrap();
        write_last_time(&relay, -DAY);
        let before = relay.events().len();
        relay.restart_with(&[]).await;
        relay.wait_event_after(before, |e| e.is("policy.store-lost"), SOON).await;
        let told = relay.wait_event_after(before, |e| e.is("clock.jumped"), SOON).await;
        assert_eq!(told.text("direction"), "ahead", "{told}");
    }

    async fn h6_14_policies_lost_in_both_hold_the_mail_until_the_operator_accepts_it() {
        let net = Net::start().await;
        let (mut relay, mx) = known(&net).await;
        relay.terminate(SOON).await;
        for gone in ["damaged", "deleted"] {
            if gone == "damaged" {
                flip_policy(&store(&relay));
                std::fs::remove_dir_all(store(&relay).join("index")).unwrap();
            } else {
                std::fs::remove_dir_all(store(&relay)).unwrap();
            }
            let before = relay.events().len();
            relay.restart_with(&[]).await;
            let lost = |e: &Event| e.is("policy.store-lost");
            let event = relay.wait_event_after(before, lost, SOON).await;
            assert_eq!(event.text("level"), "error", "{event}");
            assert!(event.text("detail").contains("--dangerous-lose-policies"), "{event}");
            // It accepts, and says why it is not ready; nothing leaves.
            let id = relay.send("a@org.test", &["b@plain.test"], MESSAGE).await;
            let (status, text) = relay.http_get("/readyz").await;
            assert_eq!(status, 503, "{text}");
            assert!(text.starts_with("not ready\naccepts mail: yes\ndelivers mail: no: "), "{text}");
            assert!(text.contains("policies"), "{text}");
            let json = relay.http().send("GET", "/readyz", &[("Accept", "application/json")], "").await.unwrap();
            let json: serde_json::Value = serde_json::from_str(&json.body).unwrap();
            assert_eq!((&json["ready"], &json["accepts"]["ok"], &json["delivers"]["ok"]), (&false.into(), &true.into(), &false.into()), "{json}");
            assert!(json["delivers"]["reasons"][0].as_str().unwrap().contains("policies"), "{json}");
            // Commands say the same, and what to do.
            for args in [&["status"][..], &["policy", "list"], &["queue", "list"], &["queue", "retry", "--all"]] {
                let told = relay.cli(args).await;
                assert_eq!(told.code, Some(75), "{args:?}: {told:?}");
                assert!(told.stderr.contains("--dangerous-lose-policies"), "{args:?}: {told:?}");
                assert!(told.stderr.contains("accepted and held"), "{args:?}: {told:?}");
                assert!(told.stderr.contains("messages in the queue: 1"), "{args:?}: {told:?}");
            }
            relay.kill();
            let attempts = |e: &Event| e.text("event").starts_with("delivery.") && e.text("queue_id") == id;
            assert!(!relay.events().iter().any(attempts), "{gone}");
            mx.assert_no_mail();

            let plain = net.plain_mx("plain.test", "127.0.7.7").await;
            let before = relay.events().len();
            relay.restart_with(&["--dangerous-lose-policies"]).await;
            let event = relay.wait_event_after(before, lost, SOON).await;
            assert_eq!(event.at("/policies"), 0, "{event}");
            relay.wait_for("delivery.sent", &id, SOON).await;
            assert_eq!(plain.messages().len(), 1);
            // And from then on as ever.
            relay.terminate(SOON).await;
            relay.restart().await;
        }
    }
}

/// A relay that has delivered to `d.test` under its policy; that domain's record and policy are
/// gone, and its host has lost TLS.
async fn known(net: &Net) -> (Relay, FakeMx) {
    let mx = net.mx("d.test", "127.0.0.25").await;
    net.enforce("d.test");
    let mut relay = net.relay().await;
    let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
    sent(&relay, &id).await;
    // What is published later brings the index behind what is looked for.
    relay.terminate(SOON).await;
    relay.restart().await;
    net.zone.remove("_mta-sts.d.test", RecordType::TXT);
    net.host.pause().await;
    mx.script(|s| s.starttls = StartTls::Off).forget();
    (relay, mx)
}

async fn still_enforced(relay: &Relay, mx: &FakeMx) {
    let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
    let event = deferred(relay, &id).await;
    assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
    assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
    assert_eq!(event.at("/policies/0/from"), "cache", "{event}");
    mx.assert_no_mail();
    ok(relay, &["policy", "show", "d.test"]).await;
}

fn nth_delivery(n: usize) -> impl Fn(&Event) -> bool {
    let seen = std::sync::Mutex::new(BTreeSet::new());
    move |e| {
        let mut seen = seen.lock().unwrap();
        if e.is("delivery.sent") && e.text("from") == "a@org.test" {
            seen.insert(e.text("queue_id").to_owned());
        }
        seen.len() >= n
    }
}

/// The domains whose enforce policy an event names.
fn enforced(relay: &Relay, after: usize) -> BTreeSet<String> {
    let events = relay.events();
    let delivered = events.iter().skip(after).filter(|e| {
        e.text("event").starts_with("delivery.") && *e.at("/policies/0/mode") == "enforce"
    });
    delivered.map(|e| e.text("domain").to_owned()).collect()
}

fn store(relay: &Relay) -> PathBuf {
    relay.folder().join("data/policies")
}

/// Flips a bit in the text of a policy in the journal.
fn flip_policy(store: &Path) {
    let text = b"mode: enforce";
    for entry in std::fs::read_dir(store.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|w| w == text) {
            bytes[at + 3] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("no policy in {}", store.display());
}
