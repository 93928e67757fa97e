//! A paused destination: its mail waits, also what comes later, until it is resumed.

use crate::net::{MESSAGE, Net, SOON, ok, sent};

testkit::net_test! {
    async fn a_paused_destination_keeps_what_is_there_and_what_comes_over_crash_and_lost_index() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let other = net.plain_mx("e.test", "127.0.0.26").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mut relay = net.relay().await;
        let said = ok(&relay, &["queue", "pause", "D.test", "--because", "they move"]).await.stdout;
        assert_eq!(said, "d.test is paused; 0 messages wait for it\n");
        let audited = relay.wait_event(
            |e| e.is("admin.action") && e.text("action") == "queue pause", SOON,
        ).await;
        assert_eq!((audited.text("target"), audited.text("reason")), ("d.test", "they move"), "{audited}");
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(relay.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await);
        }
        let fine = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &fine).await;
        let again = ok(&relay, &["queue", "pause", "d.test", "--json"]).await.json();
        assert_eq!((&again["changed"], &again["messages"]), (&false.into(), &3.into()), "{again}");
        for (args, word) in [
            (vec!["queue", "summary"], "d.test is paused since"),
            (vec!["status"], "they move"),
            (vec!["explain", "d.test"], "sealpost queue resume d.test"),
            (vec!["explain", ids[0].as_str()], "paused"),
        ] {
            let said = ok(&relay, &args).await.stdout;
            assert!(said.contains(word), "{args:?}: {said}");
        }
        // Neither a crash nor the loss of the index lets it go.
        relay.kill();
        std::fs::remove_dir_all(relay.folder().join("data/queue/index")).unwrap();
        relay.restart().await;
        let later = relay.send("a@org.test", &["v@d.test"], MESSAGE).await;
        let fine = relay.send("a@org.test", &["c@e.test"], MESSAGE).await;
        sent(&relay, &fine).await;
        assert!(mx.sessions().is_empty(), "{}", mx.transcript_text());
        // What an operator returns or cancels goes all the same.
        ok(&relay, &["queue", "bounce", &ids[0]]).await;
        assert!(org.wait_for_message(SOON).await.text().contains("u0@d.test"));
        ok(&relay, &["queue", "cancel", &ids[1]]).await;
        // A retry is no resumption.
        ok(&relay, &["queue", "retry", "--domain", "d.test"]).await;
        let fine = relay.send("a@org.test", &["d@e.test"], MESSAGE).await;
        sent(&relay, &fine).await;
        assert!(mx.sessions().is_empty(), "{}", mx.transcript_text());
        ok(&relay, &["queue", "resume", "d.test"]).await;
        sent(&relay, &ids[2]).await;
        sent(&relay, &later).await;
        let none = ok(&relay, &["queue", "resume", "d.test"]).await.stdout;
        assert!(none.starts_with("d.test was not paused"), "{none}");
        assert_eq!((mx.messages().len(), other.messages().len(), org.messages().len()), (2, 3, 1));
        let nonsense = relay.cli(&["queue", "pause", "-bad-.test"]).await;
        assert_eq!(nonsense.code, Some(64), "{nonsense:?}");
    }

    async fn held_mail_is_returned_at_the_end_of_its_life_only_if_that_is_configured() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        // Nobody listens there: that mail is tried until its time is over.
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let mut relay = sealpost_tests::Relay::start(net.config().set("queue.lifetime", "\"2s\"")).await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let other = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        relay.wait_for("delivery.expired", &other, SOON).await;
        org.wait_for_message(SOON).await;
        assert!(ok(&relay, &["queue", "list", "--json"]).await.stdout.contains(&id));
        relay.terminate(SOON).await;
        relay.reconfigure(|c| c.set("queue.expire-held", "true"));
        relay.restart().await;
        let event = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("local", "4.4.7"), "{event}");
        org.wait_for_messages(2, SOON).await;
    }
}
