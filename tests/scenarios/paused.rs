//! A paused destination: its mail waits, also what comes later, until it is resumed.

use sealpost_tests::{Event, Relay};
use serde_json::Value;
use testkit::{Action, Rule};

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
        let again = ok(&relay, &["queue", "pause", "d.test", "--because", "another"]).await.stdout;
        assert!(again.contains("by uid 0: they move\n"), "{again}");
        assert!(again.contains("d.test was paused already, and nothing was changed; 3 "), "{again}");
        for (args, word) in [
            (vec!["queue", "summary"], "d.test is paused since"),
            (vec!["status"], "they move"),
            (vec!["explain", "d.test"], "sealpost queue resume d.test"),
            (vec!["explain", ids[0].as_str()], "paused"),
        ] {
            let said = ok(&relay, &args).await.stdout;
            assert!(said.contains(word), "{args:?}: {said}");
        }
        let told = ok(&relay, &["explain", &ids[0]]).await.stdout;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for (word, is_said) in [
            ("No attempt is made while its destination is paused.", true),
            ("It is not given up while its destination is paused (`queue.expire-held`).", true),
            ("`sealpost queue resume d.test` lets its mail go on", true),
            ("It is given up", false),
            ("due now", false),
            ("tries it now", false),
        ] {
            assert_eq!(told.contains(word), is_said, "{word}: {told}");
        }
        let domain = ok(&relay, &["explain", "d.test"]).await.stdout;
        assert!(domain.contains("None is given up") && !domain.contains("queue retry --domain"), "{domain}");
        let shown = ok(&relay, &["queue", "show", &ids[0]]).await.stdout;
        assert!(shown.contains("(paused)") && shown.contains("not while its destination is paused"), "{shown}");
        assert!(shown.contains("they move") && !shown.contains("next attempt"), "{shown}");
        assert!(ok(&relay, &["queue", "list"]).await.stdout.contains("(paused)"));
        let one = ok(&relay, &["queue", "retry", &ids[0]]).await.stdout;
        assert_eq!(one, "1 message (1 at a paused destination: not tried)\n");
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
        let said = ok(&relay, &["queue", "retry", "--domain", "d.test"]).await.stdout;
        assert_eq!(said, "2 messages (2 at paused destinations: not tried)\n");
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

    async fn mail_for_an_address_is_paused_and_chosen_by_the_name_that_the_summary_has() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let mut relay = net.relay().await;
        let said = ok(&relay, &["queue", "pause", "[127.0.0.25]"]).await.stdout;
        assert_eq!(said, "[127.0.0.25] is paused; 0 messages wait for it\n");
        let id = relay.send("a@org.test", &["b@[127.0.0.25]"], MESSAGE).await;
        relay.terminate(SOON).await;
        relay.restart().await;
        let summary = ok(&relay, &["queue", "summary"]).await.stdout;
        assert!(summary.contains("[127.0.0.25] is paused since"), "{summary}");
        // What has not been tried waits for the pause, and not for its first attempt.
        assert!(!summary.contains("not tried yet"), "{summary}");
        assert!(summary.contains("Paused by an operator (uid 0) since"), "{summary}");
        let row = ok(&relay, &["queue", "summary", "--json"]).await.json()["rows"][0].clone();
        assert_eq!((&row["paused"], &row["next_attempt"]), (&true.into(), &Value::Null), "{row}");
        let listed = ok(&relay, &["queue", "list", "--domain", "[127.0.0.25]"]).await.stdout;
        assert!(listed.contains(&id), "{listed}");
        let held = ok(&relay, &["queue", "hold", "--domain", "[127.0.0.25]"]).await.stdout;
        assert_eq!(held, "1 message\n");
        let other = ok(&relay, &["queue", "list", "--domain", "[127.0.0.26]"]).await.stdout;
        assert_eq!(other, "no messages\n");
        let nonsense = relay.cli(&["queue", "pause", "[127.0.0]"]).await;
        assert_eq!(nonsense.code, Some(65), "{nonsense:?}");
        assert!(nonsense.stderr.contains("address literal"), "{nonsense:?}");
        ok(&relay, &["queue", "release", "--domain", "[127.0.0.25]"]).await;
        ok(&relay, &["queue", "resume", "[127.0.0.25]"]).await;
        sent(&relay, &id).await;
        assert_eq!(mx.messages().len(), 1);
    }

    async fn f1_17_who_sent_mail_for_a_paused_destination_is_told_of_the_delay_once() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mut relay = Relay::start(net.config().set("queue.delay-warning", "\"1s\"")).await;
        ok(&relay, &["queue", "pause", "d.test", "--because", "a secret"]).await;
        let mut client = relay.client().await;
        let quiet = client.send_with("a@org.test", "", &["q@d.test"], " NOTIFY=FAILURE", MESSAGE).await;
        // Nobody listens at the other one's.
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let to_both = ["x@d.test", "y@e.test"];
        let both = client.send_with("a@org.test", "", &to_both, " NOTIFY=FAILURE", MESSAGE).await;
        let held = client.send("a@org.test", &["h@d.test"], MESSAGE).await;
        ok(&relay, &["queue", "hold", &held]).await;
        let mut ids = Vec::new();
        for n in 0..4 {
            // Each is looked for after the one before has been told of, the last ones after a crash.
            if n == 2 {
                // A notification goes out once it is on disk that it was made.
                org.wait_for_messages(2, SOON).await;
                relay.kill();
                relay.restart().await;
            }
            let id = relay.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
            let told = relay.wait_for("dsn.sent", &id, SOON).await;
            assert_eq!(told.text("kind"), "delayed", "{told}");
            ids.push(id);
        }
        org.wait_for_messages(4, SOON).await;
        let notice = org.messages()[0].text().replace("\r\n", " ");
        let words = notice.split_whitespace().collect::<Vec<_>>().join(" ");
        for (word, is_said) in [
            ("Delivery to d.test is paused by the operator of this relay.", true),
            ("Action: delayed", true),
            ("It is kept safe here, until it can be delivered.", true),
            ("a secret", false),
            ("If it cannot be delivered until", false),
        ] {
            assert_eq!(words.contains(word), is_said, "{word}: {words}");
        }
        let told = relay.events().iter().filter(|e| e.is("dsn.sent")).count();
        assert_eq!(told, 4, "{}", relay.story());
        let silent = [&quiet, &both];
        let none = |e: &Event| {
            e.is("delivery.deferred") && e.text("to") != "y@e.test"
                || e.is("dsn.sent") && silent.iter().any(|id| e.text("queue_id") == **id)
        };
        assert!(!relay.events().iter().any(none) && mx.sessions().is_empty(), "{}", relay.story());
        // It waits for its destination and for nothing else.
        let shown = ok(&relay, &["queue", "show", &ids[0]]).await.stdout;
        assert!(shown.contains("(paused)") && !shown.contains("next attempt"), "{shown}");
        let shown = ok(&relay, &["queue", "show", &both]).await.stdout;
        assert!(!shown.contains("suspended"), "{shown}");
        let summary = ok(&relay, &["queue", "summary"]).await.stdout;
        assert!(summary.contains("Paused by an operator (uid 0) since"), "{summary}");
        ok(&relay, &["queue", "resume", "d.test"]).await;
        for id in ids.iter().chain([&quiet]) {
            sent(&relay, id).await;
        }
    }

    async fn paused_mail_past_its_end_is_in_nobodys_way_and_goes_when_its_destination_is_resumed() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.plain_mx("org.test", "127.0.1.9").await;
        // Nobody listens there: that mail is tried until its time is over.
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let config = net.config().set("queue.lifetime", "\"2s\"").set("queue.delay-warning", "\"1s\"");
        let relay = Relay::start(config).await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let mut ids = Vec::new();
        for n in 0..3 {
            let id = relay.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
            let told = relay.wait_for("dsn.sent", &id, SOON).await;
            assert_eq!(told.text("kind"), "delayed", "{told}");
            // The time of all that came before is over with this one's.
            let other = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
            relay.wait_for("delivery.expired", &other, SOON).await;
            ids.push(id);
        }
        assert!(mx.sessions().is_empty(), "{}", mx.transcript_text());
        ok(&relay, &["queue", "resume", "d.test"]).await;
        for id in &ids {
            sent(&relay, id).await;
        }
    }

    async fn what_is_being_delivered_may_arrive_although_it_is_cancelled_and_is_said_so() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let relay = net.relay().await;
        let mut ids = Vec::new();
        for n in 1..=3 {
            ids.push(relay.send("a@org.test", &["b@d.test"], MESSAGE).await);
            let under_way = sealpost_tests::eventually(SOON, async || {
                let far = mx.commands().into_iter().filter(|c| c.starts_with("MAIL"));
                (far.count() == n).then_some(())
            });
            assert!(under_way.await.is_some(), "{}", relay.story());
        }
        ok(&relay, &["queue", "bounce", &ids[0]]).await;
        let listed = ok(&relay, &["queue", "list", "--json"]).await;
        assert!(listed.stdout.contains("\"active\"") && !listed.stdout.contains("1970-"), "{listed:?}");
        let one = ok(&relay, &["queue", "cancel", &ids[1]]).await.stdout;
        assert_eq!(one, "1 message; it was being delivered just now and may still arrive\n");
        let answer = ok(&relay, &["queue", "cancel", "--all", "--json"]).await.json();
        assert_eq!((&answer["matched"], &answer["under_way"]), (&2.into(), &2.into()), "{answer}");
        // What comes of it then is told, and not as an outcome: none counts any more.
        mx.pause().await;
        let told = sealpost_tests::eventually(SOON, async || {
            let story = relay.story();
            let is_told = |id: &String| story.lines().any(|l| l.contains(id.as_str()) && l.contains("removed from the queue during"));
            ids.iter().all(is_told).then_some(())
        });
        assert!(told.await.is_some(), "{}", relay.story());
        let counted = relay.events().into_iter().find(|e| e.is("delivery.deferred") || e.is("delivery.bounced"));
        assert!(counted.is_none(), "{counted:?}");
    }

    async fn what_was_in_hand_as_it_was_returned_goes_back_although_its_destination_is_paused() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        mx.rule(Rule::always("MAIL", Action::Stall));
        let config = net.config().set("delivery.connections-per-destination", "1");
        let relay = Relay::start(config).await;
        let under_way = relay.send("a@org.test", &["u@d.test"], MESSAGE).await;
        mx.wait_for_command("MAIL", SOON).await;
        let in_hand = relay.send("a@org.test", &["v@d.test"], MESSAGE).await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let waits = relay.send("a@org.test", &["w@d.test"], MESSAGE).await;
        for id in [&under_way, &in_hand, &waits] {
            ok(&relay, &["queue", "bounce", id]).await;
        }
        // The round of returns is over: it saw only what was in nobody's hands.
        let first = org.wait_for_message(SOON).await;
        assert!(first.text().contains("w@d.test"), "{}", first.text());
        mx.pause().await;
        let all = org.wait_for_messages(3, SOON).await;
        for recipient in ["u@d.test", "v@d.test"] {
            assert!(all.iter().any(|m| m.text().contains(recipient)), "{recipient}");
        }
        assert!(mx.messages().is_empty());
    }

    async fn held_mail_is_returned_at_the_end_of_its_life_only_if_that_is_configured() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        // Nobody listens there: that mail is tried until its time is over.
        net.zone.mail_domain("e.test", "mx.e.test", "127.0.0.26");
        let mut relay = Relay::start(net.config().set("queue.lifetime", "\"2s\"")).await;
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
        // It was never tried, and its notice says nothing of the kind.
        let notice = org.messages().pop().unwrap().text().replace("\r\n", " ");
        assert!(notice.contains("It was held back here"), "{notice}");
        for word in ["again and again", "Last-Attempt-Date", "Remote-MTA"] {
            assert!(!notice.contains(word), "{word}: {notice}");
        }
    }
}
