//! Messages to several recipients: a verdict for each, and no more transactions than needed.

use testkit::{Action, Rule};

use crate::net::{MESSAGE, Net, SOON, bounced, events_of, of_recipient, ok, sent};

testkit::net_test! {
    async fn a1_10_recipients_at_several_domains_get_verdicts_of_their_own() {
        let net = Net::start().await;
        let enforced = net.plain_mx("d1.test", "127.0.1.1").await;
        let plain = net.plain_mx("d2.test", "127.0.1.2").await;
        let good = net.mx("d3.test", "127.0.1.3").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.enforce("d1.test");
        net.enforce("d3.test");
        let relay = net.relay().await;
        let to = ["b@d1.test", "b@d2.test", "b@d3.test"];
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        let event = of_recipient(&relay, "delivery.deferred", &id, "b@d1.test").await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        let event = of_recipient(&relay, "delivery.sent", &id, "b@d2.test").await;
        assert!(event.at("/tls").is_null(), "{event}");
        let event = of_recipient(&relay, "delivery.sent", &id, "b@d3.test").await;
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        enforced.assert_no_mail();
        assert_eq!(plain.messages()[0].recipients(), ["b@d2.test"]);
        assert_eq!(good.messages()[0].recipients(), ["b@d3.test"]);
        // Still waiting: nobody is told anything, and the message stays.
        assert!(org.sessions().is_empty() && events_of(&relay, "message.removed", &id).is_empty());
    }

    async fn a1_09_a_connection_serves_another_domain_only_if_it_meets_that_domains_policy() {
        let net = Net::start().await;
        let mx = net.mx("mx.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.mx.test"));
        net.zone.mx("d1.test", 10, "mx.mx.test").mx("d2.test", 10, "mx.mx.test");
        net.enforce_for("d2.test", &["mx.mx.test"]);
        let relay = net.relay().await;
        // First d1 alone, so that a connection lies open when d2's turn comes.
        let id = relay.send("a@org.test", &["b@d1.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/would_verify"), false, "{event}");
        let id = relay.send("a@org.test", &["b@d1.test", "b@d2.test"], MESSAGE).await;
        of_recipient(&relay, "delivery.sent", &id, "b@d1.test").await;
        let event = of_recipient(&relay, "delivery.deferred", &id, "b@d2.test").await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        let said = mx.commands();
        assert!(!said.iter().any(|c| c.contains("d2.test")), "{said:?}");
        assert_eq!(mx.messages().len(), 2);
    }

    async fn e2_19_two_hundred_and_fifty_recipients_go_in_transactions_of_a_hundred() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let to: Vec<String> = (0..250).map(|n| format!("u{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        relay.wait_for("message.removed", &id, SOON).await;
        let mut sizes: Vec<usize> = mx.messages().iter().map(|m| m.to.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [50, 100, 100]);
        let mut got: Vec<String> = mx.messages().iter()
            .flat_map(|m| m.recipients().into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), 250);
        assert_eq!(events_of(&relay, "delivery.sent", &id).len(), 250);
    }

    async fn e2_19_who_has_it_is_in_the_books_before_the_next_transaction_begins() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let _other = net.plain_mx("e.test", "127.0.0.26").await;
        mx.rule(Rule::nth("MAIL", 3, Action::Hold));
        let mut relay = net.relay().await;
        let to: Vec<String> = (0..450).map(|n| format!("u{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        mx.wait_for_commands("MAIL", 3, SOON).await;
        sealpost_tests::eventually(SOON, async || {
            (events_of(&relay, "delivery.sent", &id).len() == 200).then_some(())
        }).await.unwrap();
        // What is answered now is on disk, and so is all that was written before.
        let after = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &after).await;
        relay.kill();
        mx.behave();
        relay.restart().await;
        relay.wait_for("message.removed", &id, SOON).await;
        let mut got: Vec<String> = mx.messages().iter()
            .flat_map(|m| m.recipients().into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        got.sort_unstable();
        let all = got.len();
        got.dedup();
        assert_eq!((all, got.len()), (450, 450), "everybody once");
    }

    async fn e2_19_who_holds_or_cancels_the_rest_is_heard_between_two_transactions() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::nth("MAIL", 2, Action::Hold));
        let relay = net.relay().await;
        let to: Vec<String> = (0..450).map(|n| format!("u{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        mx.wait_for_commands("MAIL", 2, SOON).await;
        ok(&relay, &["queue", "hold", &id]).await;
        mx.behave();
        let sent = |n: usize| {
            let relay = &relay;
            let id = id.as_str();
            async move {
                sealpost_tests::eventually(SOON, async || {
                    (events_of(relay, "delivery.sent", id).len() == n).then_some(())
                }).await.unwrap()
            }
        };
        sent(200).await;
        let shown = relay.cli(&["queue", "show", &id, "--json"]).await.json();
        assert_eq!(shown["state"], "held", "{shown}");
        mx.rule(Rule::once("MAIL", Action::Hold));
        ok(&relay, &["queue", "release", &id]).await;
        mx.wait_for_commands("MAIL", 3, SOON).await;
        ok(&relay, &["queue", "cancel", &id]).await;
        mx.behave();
        sent(300).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        assert_eq!(ok(&relay, &["queue", "list", "--json"]).await.stdout, "");
        assert_eq!(mx.messages().len(), 3);
    }

    async fn e2_20_too_many_recipients_for_one_transaction_go_on_at_once_in_the_next() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.max_recipients = Some(3));
        let relay = net.relay().await;
        let to: Vec<String> = (0..8).map(|n| format!("u{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        relay.wait_for("message.removed", &id, SOON).await;
        let sizes: Vec<usize> = mx.messages().iter().map(|m| m.to.len()).collect();
        assert_eq!(sizes, [3, 3, 2]);
        let events = events_of(&relay, "delivery.sent", &id);
        assert_eq!(events.len(), 8);
        assert!(events.iter().all(|e| *e.at("/attempt") == 1));
        assert_eq!(events_of(&relay, "delivery.deferred", &id).len(), 0);
    }

    async fn e2_36_e5_09_h3_19_each_recipients_reply_is_its_own() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 mailbox busy".into())).about("busy@"));
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no such user".into())).about("gone@"));
        let relay = net.relay().await;
        let to = ["busy@d.test", "gone@d.test", "good@d.test"];
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        let event = of_recipient(&relay, "delivery.deferred", &id, "busy@d.test").await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-4xx", "4.2.1"), "{event}");
        assert_eq!(event.text("reply"), "450 4.2.1 mailbox busy", "{event}");
        let event = of_recipient(&relay, "delivery.bounced", &id, "gone@d.test").await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.1.1"), "{event}");
        assert_eq!(event.text("reply"), "550 5.1.1 no such user", "{event}");
        of_recipient(&relay, "delivery.sent", &id, "good@d.test").await;
        assert_eq!(mx.messages()[0].recipients(), ["good@d.test"]);
        let notice = org.wait_for_message(SOON).await.text();
        assert!(notice.contains("gone@d.test") && !notice.contains("busy@d.test"), "{notice}");
        assert!(!notice.contains("good@d.test"), "{notice}");

        mx.behave();
        mx.forget();
        assert_eq!(relay.cli(&["queue", "retry", &id]).await.code, Some(0));
        of_recipient(&relay, "delivery.sent", &id, "busy@d.test").await;
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
        assert_eq!(mx.messages()[0].recipients(), ["busy@d.test"]);
        assert_eq!(org.messages().len(), 1);
    }

    async fn e2_21_h3_21_the_reply_to_the_end_of_data_is_for_all_recipients() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        mx.rule(Rule::once(".", Action::Reply("451 4.3.0 try later".into())));
        mx.rule(Rule::always(".", Action::Reply("554 5.6.0 content refused".into())));
        let relay = net.relay().await;
        let to = ["b@d.test", "c@d.test", "d@d.test"];
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        for rcpt in to {
            let event = of_recipient(&relay, "delivery.deferred", &id, rcpt).await;
            assert_eq!(event.text("dsn"), "4.3.0", "{event}");
        }
        assert_eq!(relay.cli(&["queue", "retry", &id]).await.code, Some(0));
        for rcpt in to {
            let event = of_recipient(&relay, "delivery.bounced", &id, rcpt).await;
            assert_eq!(event.text("dsn"), "5.6.0", "{event}");
        }
        let notice = org.wait_for_message(SOON).await.text();
        for rcpt in to {
            assert!(notice.contains(&format!("rfc822;{rcpt}")), "{notice}");
        }
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(org.messages().len(), 1);
        mx.behave();
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
    }

    async fn e2_22_a_refused_sender_is_not_remembered() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.plain_mx("org.test", "127.0.1.9").await;
        mx.rule(Rule::once("MAIL", Action::Reply("550 5.7.1 not you".into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(bounced(&relay, &id).await.text("dsn"), "5.7.1");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
    }
}
