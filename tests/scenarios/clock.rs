//! A machine whose clock is wrong: what is written down of the last time is changed while the relay is
//! down, so that to the next process the clock has jumped.

use std::time::{SystemTime, UNIX_EPOCH};

use sealpost_tests::{Relay, eventually};
use testkit::FakeMx;

use crate::net::{MESSAGE, Net, SOON, deferred, ok};

testkit::net_test! {
    async fn h8_01_a_clock_a_year_ahead_ends_no_mail_until_an_operator_says_that_it_is_right() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let _org = net.plain_mx("org.test", "127.0.1.9").await;
        let mut relay = net.relay().await;
        as_if_the_last_time_was(&mut relay, -YEAR).await;
        let told = relay.wait_event(|e| e.is("clock.jumped"), SOON).await;
        assert_eq!(told.text("direction"), "ahead", "{told}");
        assert!(told.text("detail").contains("sealpost clock accept"), "{told}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let shown = ok(&relay, &["clock", "show", "--json"]).await.json();
        assert!(shown["doubted"].is_string(), "{shown}");
        assert!(ok(&relay, &["status"]).await.stdout.contains("is not believed"));
        // A restart does not end the doubt.
        relay.terminate(SOON).await;
        relay.restart().await;
        let shown = ok(&relay, &["clock", "show"]).await.stdout;
        assert!(shown.contains("is not believed"), "{shown}");
        assert!(!relay.events().iter().any(|e| e.is("delivery.expired")), "{}", relay.story());
        ok(&relay, &["clock", "accept", "--because", "it was off for a year"]).await;
        let told = relay.wait_event(|e| e.is("clock.believed"), SOON).await;
        assert_eq!((told.text("direction"), told.text("by")), ("ahead", "uid 0"), "{told}");
        relay.wait_event(|e| e.is("admin.action") && e.text("action") == "clock accept", SOON).await;
        // By that time the mail is a year old.
        relay.wait_for("delivery.expired", &id, SOON).await;
        let again = relay.cli(&["clock", "accept"]).await;
        assert_eq!(again.code, Some(65), "{again:?}");
    }

    async fn h8_02_a_clock_a_year_back_freezes_no_retry() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mut relay = Relay::start(net.config().set("queue.retry", "[\"1h\"]")).await;
        as_if_the_last_time_was(&mut relay, YEAR).await;
        let told = relay.wait_event(|e| e.is("clock.jumped"), SOON).await;
        assert_eq!(told.text("direction"), "back", "{told}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        // Its next attempt lies a year ahead of the time that is believed now.
        assert!(event.text("next_attempt") > event.text("ts"), "{event}");
        ok(&relay, &["clock", "accept"]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
    }
}

/// Ends the relay, moves the time that it wrote down by so many seconds from now, and starts it again.
async fn as_if_the_last_time_was(relay: &mut Relay, from_now: i64) {
    let path = relay.folder().join("data/clock");
    let written = eventually(SOON, async || path.exists().then_some(())).await;
    assert_eq!(written, Some(()));
    relay.terminate(SOON).await;
    let line = std::fs::read_to_string(&path).unwrap();
    let parts: Vec<&str> = line.split_whitespace().collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let then = i64::try_from(now).unwrap() + from_now * 1000;
    std::fs::write(&path, format!("{} {} {then}\n", parts[0], parts[1])).unwrap();
    relay.restart().await;
}

const YEAR: i64 = 31_536_000;
