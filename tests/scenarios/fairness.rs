//! Who has to wait for whom: senders, and notifications behind mail.

use std::time::{Duration, Instant};

use sealpost_tests::{Event, Relay, eventually};
use testkit::{Action, Banner, Rule};

use crate::net::{MESSAGE, Net, SOON, ok, sent};

testkit::net_test! {
    async fn e5_05_ten_thousand_messages_of_one_sender_delay_anothers_by_seconds_at_most() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        // Some three minutes' work for the sessions that there may be.
        mx.rule(Rule::always("DATA", Action::Delay(Duration::from_millis(100))));
        let config = net.config().set("delivery.connections-per-destination", "5");
        let relay = Relay::start(config).await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let mut loads = tokio::task::JoinSet::new();
        for client in 0..8 {
            let mut wire = relay.client().await;
            loads.spawn(async move {
                for n in 0..FLOOD / 8 {
                    wire.send("flood@org.test", &[&format!("u{client}-{n}@d.test")], MESSAGE).await;
                }
            });
        }
        loads.join_all().await;
        let early = relay.send("early@org.test", &["early@d.test"], MESSAGE).await;
        ok(&relay, &["queue", "resume", "d.test"]).await;
        // What waited with the flood, and what comes while it goes out.
        let began = Instant::now();
        sent(&relay, &early).await;
        assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
        for n in 0..3 {
            let began = Instant::now();
            let id = relay.send("late@org.test", &[&format!("late{n}@d.test")], MESSAGE).await;
            sent(&relay, &id).await;
            assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
        }
        let flooded = mx.messages().iter().filter(|m| m.from == "flood@org.test").count();
        assert!(flooded > 0 && flooded < FLOOD / 2, "{flooded} of {FLOOD}");
    }

    async fn a_host_that_stalls_holds_up_one_message_of_a_destination_not_what_was_taken_up_with_it() {
        let net = Net::start().await;
        let mut hosts = Vec::new();
        for n in 0..DESTINATIONS {
            let mx = net.plain_mx(&format!("d{n}.test"), &format!("127.0.1.{n}")).await;
            mx.rule(Rule::always("MAIL", Action::Stall));
            hosts.push(mx);
        }
        let relay = net.relay().await;
        let mut wire = relay.client().await;
        for n in 0..DESTINATIONS {
            ok(&relay, &["queue", "pause", &format!("d{n}.test")]).await;
            for m in 0..4 {
                wire.send("a@org.test", &[&format!("u{m}@d{n}.test")], MESSAGE).await;
            }
        }
        ok(&relay, &["queue", "hold", "--all", "--yes"]).await;
        for n in 0..DESTINATIONS {
            ok(&relay, &["queue", "resume", &format!("d{n}.test")]).await;
        }
        // All are due at once, and taken up by the first session of each while the scheduler looks at the others.
        ok(&relay, &["queue", "release", "--all"]).await;
        for (n, mx) in hosts.iter().enumerate() {
            let all = eventually(SOON, async || (mx.most_open() == 4).then_some(())).await;
            assert!(all.is_some(), "d{n}.test: {} of 4", mx.most_open());
        }
    }

    async fn e5_04_a_silent_host_of_many_domains_leaves_the_places_to_mail_for_others() {
        let net = Net::start().await;
        let silent = net.peer("mx.big.test", "127.0.0.25").await;
        silent.script(|s| s.banner = Banner::Silence);
        net.zone.a("mx.big.test", "127.0.0.25");
        let good = net.plain_mx("d.test", "127.0.0.26").await;
        for n in 0..PLACES {
            net.zone.mx(&format!("d{n}.test"), 10, "mx.big.test");
        }
        let config = net.config().set("delivery.connections", &PLACES.to_string());
        let relay = Relay::start(config).await;
        let mut wire = relay.client().await;
        for n in 0..PLACES {
            for m in 0..3 {
                wire.send("a@org.test", &[&format!("u{m}@d{n}.test")], MESSAGE).await;
            }
        }
        let held = eventually(SOON, async || (silent.most_open() == 20).then_some(())).await;
        assert!(held.is_some(), "{} sessions", silent.most_open());
        // Its greeting is waited for five minutes.
        for n in 0..3 {
            wire.send("a@org.test", &[&format!("v{n}@d.test")], MESSAGE).await;
        }
        good.wait_for_messages(3, SOON).await;
        assert_eq!(silent.most_open(), 20);
    }

    async fn h3_23_a_host_that_takes_few_sessions_at_once_puts_off_nothing() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.banner = Banner::AtMost(3));
        mx.rule(Rule::always("DATA", Action::Delay(Duration::from_millis(20))));
        let relay = net.relay().await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let mut wire = relay.client().await;
        for n in 0..100 {
            wire.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
        }
        ok(&relay, &["queue", "resume", "d.test"]).await;
        mx.wait_for_messages(100, SOON).await;
        let wrong = |e: &&Event| e.is("delivery.deferred") || e.is("destination.suspended");
        assert_eq!(relay.events().iter().filter(wrong).count(), 0, "{}", relay.story());
    }

    async fn a_stop_waits_for_no_host_that_has_taken_no_mail_yet() {
        let net = Net::start().await;
        let silent = net.plain_mx("d.test", "127.0.0.25").await;
        silent.script(|s| s.banner = Banner::Silence);
        let config = net.config().set("server.drain-timeout", r#""1h""#);
        let mut relay = Relay::start(config).await;
        relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let open = eventually(SOON, async || (silent.most_open() == 1).then_some(())).await;
        assert!(open.is_some());
        assert!(relay.terminate(SOON).await.success());
    }

    async fn notifications_come_after_mail_and_are_not_forgotten() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let config = net.config().set("delivery.connections-per-destination", "1");
        let relay = Relay::start(config).await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let mut wire = relay.client().await;
        for n in 0..40 {
            wire.send("", &[&format!("notice{n}@d.test")], MESSAGE).await;
        }
        for n in 0..40 {
            wire.send("a@org.test", &[&format!("mail{n}@d.test")], MESSAGE).await;
        }
        ok(&relay, &["queue", "resume", "d.test"]).await;
        let got = mx.wait_for_messages(80, SOON).await;
        let notices = |range: std::ops::Range<usize>| got[range].iter().filter(|m| m.from.is_empty()).count();
        // Although they were there first, one in ten.
        assert_eq!(notices(0..20), 2);
        assert_eq!(notices(20..40), 2);
        assert_eq!(notices(0..80), 40);
    }
}

/// More than one host gets sessions.
const PLACES: usize = 64;
const DESTINATIONS: usize = 30;
const FLOOD: usize = 10_000;
const SECONDS: Duration = Duration::from_secs(10);
