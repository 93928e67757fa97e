//! Who has to wait for whom: senders, and notifications behind mail.

use std::time::{Duration, Instant};

use sealpost_tests::Relay;
use testkit::{Action, Rule};

use crate::net::{MESSAGE, Net, ok, sent};

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
        let got = mx.wait_for_messages(80, crate::net::SOON).await;
        let notices = |range: std::ops::Range<usize>| got[range].iter().filter(|m| m.from.is_empty()).count();
        // Although they were there first, one in ten.
        assert_eq!(notices(0..20), 2);
        assert_eq!(notices(20..40), 2);
        assert_eq!(notices(0..80), 40);
    }
}

const FLOOD: usize = 10_000;
const SECONDS: Duration = Duration::from_secs(10);
