//! A machine whose clock is wrong: what is written down of the last time is changed while the relay is
//! down, so that to the next process the clock has jumped.

use std::time::{SystemTime, UNIX_EPOCH};

use sealpost_tests::{Event, Relay, eventually};
use testkit::{FakeMx, PolicyFault};

use crate::net::{MESSAGE, Net, SOON, deferred, events_of, ok, time};

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

    async fn h8_04_a_certificate_that_seems_to_have_expired_only_delays_and_shows_what_time_it_is_held_to_be() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let mut relay = net.relay().await;
        as_if_the_last_time_was(&mut relay, -2 * DAY).await;
        relay.wait_event(|e| e.is("clock.jumped"), SOON).await;
        mx.certificate(&net.expired("mx.d.test"));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("cert-expired", "4.7.5"), "{event}");
        let (_, now) = event.text("detail").split_once("and now is ").unwrap();
        // Whoever compares the two sees that the machine's clock is not believed.
        assert_ne!(now[..10], event.text("ts")[..10], "{event}");
        assert!(!relay.events().iter().any(|e| e.is("delivery.bounced") || e.is("delivery.expired")));
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
    }

    /// All that is known of the domain is what the doubted clock said. When the doubt ends, the mail is neither
    /// let go without a policy, since we just asked for it, nor put off for what was said before.
    async fn h8_01_mail_that_waits_for_the_clock_waits_for_its_policy_when_the_clock_is_accepted() {
        for (n, from_now) in [-DAY, YEAR].into_iter().enumerate() {
            let net = Net::start().await;
            let mx = net.plain_mx("d.test", "127.0.0.25").await;
            net.enforce("d.test");
            net.host.fault("d.test", PolicyFault::ExpiredCertificate);
            let mut relay = net.relay().await;
            as_if_the_last_time_was(&mut relay, from_now).await;
            relay.wait_event(|e| e.is("clock.jumped"), SOON).await;
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "policy-lookup", "{n}: {event}");
            let doubted = |e: &Event| e.text("detail").contains("our own clock is doubted");
            assert!(doubted(&event), "{n}: {event}");
            net.host.heal("d.test");
            ok(&relay, &["clock", "accept"]).await;
            let next = |e: &Event| e.text("event").starts_with("delivery.") && e.text("queue_id") == id && !doubted(e);
            let event = relay.wait_event(next, SOON).await;
            assert!(event.is("delivery.deferred"), "{n}: {event}");
            assert!(event.text("detail").contains("has to be fetched again"), "{n}: {event}");
            let waits = time(&event, "/next_attempt") - time(&event, "/ts");
            assert!((0..=7200).contains(&waits), "{n}: {waits} s: {event}");
            let again = events_of(&relay, "delivery.deferred", &id).len();
            assert_eq!(again, 2, "{n}: {}", relay.story());
            mx.assert_no_mail();
        }
    }

    async fn h8_06_times_in_the_log_are_utc_wherever_the_machine_is() {
        // The relays of these tests run in Europe, where clocks are moved twice a year.
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        // Past the ends of 31 and 32 bits, and the first year that certificates write with four digits.
        for (year, ip) in [(2038, "127.0.0.25"), (2050, "127.0.0.25"), (2106, "127.0.0.25"), (9998, "127.0.0.25")] {
            mx.certificate(&net.ca.cert(&["mx.d.test"]).validity((1970, 1, 1), (year, 12, 31)).issue());
            let relay = net.relay().await;
            net.enforce("d.test");
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            let event = crate::net::sent(&relay, &id).await;
            assert_eq!(event.text("ip"), ip);
            let end = event.at("/tls/cert/not_after").as_str().unwrap();
            assert!(end.starts_with(&format!("{year}-12-31T00:00:00")) && end.ends_with('Z'), "{event}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let told = time(&event, "/ts");
            assert!(now.abs_diff(told.try_into().unwrap()) < 60, "{event}");
            let received = mx.messages().pop().unwrap().text();
            let trace = received.split("\r\n\r\n").next().unwrap();
            assert!(trace.contains("+0000"), "RFC 5321 section 4.4: {trace}");
        }
        let relay = net.relay().await;
        let events: Vec<i64> = relay.events().iter().map(|e| time(e, "/ts")).collect();
        assert!(events.is_sorted(), "{}", relay.story());
    }

    async fn h8_06_while_the_clock_is_doubted_all_that_is_logged_goes_by_one_time() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let mut relay = net.relay().await;
        let before = relay.events().len();
        as_if_the_last_time_was(&mut relay, -YEAR).await;
        relay.wait_event(|e| e.is("clock.jumped"), SOON).await;
        // Of the intake, of delivery, of the policy cache, of an operator.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        crate::net::sent(&relay, &id).await;
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        ok(&relay, &["queue", "cancel", &id]).await;
        relay.wait_event(|e| e.is("admin.action"), SOON).await;
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
        let events = relay.events().split_off(before);
        let since = events.iter().position(|e| e.is("clock.jumped")).unwrap();
        let told: Vec<&str> = events[since..].iter().map(|e| e.text("event")).collect();
        for kind in ["message.received", "policy.fetched", "delivery.sent", "delivery.deferred", "admin.action"] {
            assert!(told.contains(&kind), "{kind}: {}", relay.story());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let judged = i64::try_from(now).unwrap() - YEAR;
        for event in &events[since..] {
            assert!((time(event, "/ts") - judged).abs() < DAY, "{event}");
        }
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

    async fn h8_02_mail_follows_a_clock_set_back_though_the_relay_ends_right_after_that_was_believed() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mut relay = Relay::start(net.config().set("queue.retry", "[\"1h\"]")).await;
        as_if_the_last_time_was(&mut relay, YEAR).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        ok(&relay, &["clock", "accept"]).await;
        relay.terminate(SOON).await;
        let was_quick = !mx.messages().is_empty();
        relay.restart().await;
        if !was_quick {
            // It is doubted again, and the mail follows when that has ended.
            ok(&relay, &["clock", "accept"]).await;
            relay.wait_for("delivery.sent", &id, SOON).await;
        }
        assert_eq!(mx.messages().len(), 1);
    }
}

/// Ends the relay, moves the time that it wrote down by so many seconds from now, and starts it again.
pub(crate) async fn as_if_the_last_time_was(relay: &mut Relay, from_now: i64) {
    let path = relay.folder().join("data/clock");
    let written = eventually(SOON, async || path.exists().then_some(())).await;
    assert_eq!(written, Some(()));
    relay.terminate(SOON).await;
    write_last_time(relay, from_now);
    relay.restart().await;
}

/// Moves the time that a relay wrote down before it ended by so many seconds from now.
pub(crate) fn write_last_time(relay: &Relay, from_now: i64) {
    let path = relay.folder().join("data/clock");
    let line = std::fs::read_to_string(&path).unwrap();
    let parts: Vec<&str> = line.split_whitespace().collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let then = i64::try_from(now).unwrap() + from_now * 1000;
    std::fs::write(&path, format!("{} {} {then}\n", parts[0], parts[1])).unwrap();
}

const YEAR: i64 = 31_536_000;
pub(crate) const DAY: i64 = 86_400;
