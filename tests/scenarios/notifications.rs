//! Delivery status notifications, as the sender's mail exchanger gets them.

use sealpost_tests::{Event, Relay};
use testkit::{Action, FakeMx, ReceivedMessage, Rule};

use crate::net::{MESSAGE, Net, SOON, bounced, events_of, ok, sent, time};

testkit::net_test! {
    async fn f1_15_f1_21_f2_01_f2_02_f3_05_f4_01_a_failed_message_comes_back_in_good_form() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        mx.rule(Rule::always(
            "RCPT",
            Action::Reply("550-5.1.1 no such user;\r\n550 5.1.1 try \"postmaster\"".into()),
        ));
        let relay = net.relay().await;
        let id = relay.client().await.send_with(
            "a@org.test",
            " RET=HDRS ENVID=QQ+2B1",
            &["Bob.X@D.test"],
            " ORCPT=rfc822;Robert+2BX@D.test NOTIFY=FAILURE,DELAY",
            MESSAGE,
        ).await;
        assert_eq!(bounced(&relay, &id).await.text("dsn"), "5.1.1");
        let notice = org.wait_for_message(SOON).await;
        assert_eq!((notice.from.as_str(), notice.recipients()), ("", vec!["a@org.test"]));
        assert!(!notice.from_params.contains("RET="), "{notice:?}");
        let text = notice.text();
        let header = text.split("\r\n\r\n").next().unwrap();
        for once in ["Date: ", "Message-ID: ", "Auto-Submitted: auto-replied", "MIME-Version: 1.0",
            "Subject: Undelivered", "To: <a@org.test>", "From: Mail Delivery System <"]
        {
            let lines = header.split("\r\n").filter(|l| l.starts_with(once));
            assert_eq!(lines.count(), 1, "{once:?}: {text}");
        }
        let parts = parts(&notice);
        assert_eq!(parts.len(), 3, "{text}");
        assert!(parts[0].0.contains("text/plain") && parts[0].1.contains("<Bob.X@D.test>"), "{text}");
        assert!(parts[1].0.contains("message/delivery-status"), "{text}");
        assert!(parts[2].0.contains("text/rfc822-headers"), "{text}");
        assert!(parts[2].1.contains("Subject: hello") && !parts[2].1.contains("Hello."), "{text}");
        let report = unfolded(&parts[1].1);
        for line in [
            "Reporting-MTA: dns; relay.test",
            "Original-Envelope-Id: QQ+1",
            "Original-Recipient: rfc822;Robert+X@D.test",
            "Final-Recipient: rfc822;Bob.X@D.test",
            "Action: failed",
            "Status: 5.1.1",
            "Remote-MTA: dns; mx.d.test",
        ] {
            assert_eq!(report.lines().filter(|l| *l == line).count(), 1, "{line}: {report}");
        }
        let diagnostic = report.lines().find(|l| l.starts_with("Diagnostic-Code: smtp;")).unwrap();
        assert!(diagnostic.contains("550 5.1.1 no such user; try \"postmaster\""), "{diagnostic}");
        assert!(report.contains("Arrival-Date: ") && report.contains("Last-Attempt-Date: "), "{report}");
        assert!(!report.contains("Will-Retry-Until"), "{report}");
        let event = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        assert_eq!(event.text("queue_id"), id, "{event}");
        assert_eq!(event.text("to"), "a@org.test", "{event}");
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(org.messages().len(), 1);
    }

    async fn f1_13_f1_16_f1_19_f1_20_e5_06_who_does_not_want_a_notice_gets_none() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())));
        let relay = net.relay().await;
        let mut client = relay.client().await;
        let never = client.send_with("a@org.test", "", &["b@d.test"], " NOTIFY=NEVER", MESSAGE).await;
        let success = client.send_with("a@org.test", "", &["b@d.test"], " NOTIFY=SUCCESS", MESSAGE).await;
        let null = client.send("", &["b@d.test"], MESSAGE).await;
        for id in [&never, &success, &null] {
            bounced(&relay, id).await;
            relay.wait_for("message.removed", id, SOON).await;
        }
        // Of two recipients one wants to be told: the notice is about that one alone.
        client.command("MAIL FROM:<a@org.test>").await.demand(250);
        client.command("RCPT TO:<quiet@d.test> NOTIFY=NEVER").await.demand(250);
        client.command("RCPT TO:<loud@d.test>").await.demand(250);
        client.command("DATA").await.demand(354);
        client.write(MESSAGE).await;
        let id = client.command(".").await.demand(250).queue_id();
        relay.wait_for("message.removed", &id, SOON).await;
        let text = org.wait_for_message(SOON).await.text();
        assert!(text.contains("loud@d.test") && !text.contains("quiet@d.test"), "{text}");
        let told: Vec<_> = relay.events().into_iter().filter(|e| e.is("dsn.sent")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(org.messages().len(), 1);
    }

    async fn f1_22_the_whole_message_comes_back_if_the_sender_asks() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())));
        let relay = net.relay().await;
        let mut client = relay.client().await;
        client.send_with("a@org.test", " RET=FULL", &["b@d.test"], "", MESSAGE).await;
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        assert!(parts[2].0.contains("message/rfc822"), "{}", notice.text());
        assert!(parts[2].1.ends_with("\r\n\r\nHello."), "{:?}", parts[2].1);
    }

    async fn f1_09_f1_11_f1_12_f1_14_f1_18_success_is_told_only_where_nobody_else_will() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        let relay = net.relay().await;
        let mut client = relay.client().await;
        // A peer with DSN takes the duty over, with the parameters as they were.
        let id = client.send_with(
            "a@org.test", " RET=HDRS ENVID=QQ+2B1", &["Bob@d.test"],
            " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@D.test", MESSAGE,
        ).await;
        sent(&relay, &id).await;
        let got = &mx.messages()[0];
        assert!(got.from_params.contains("RET=HDRS") && got.from_params.contains("ENVID=QQ+2B1"), "{got:?}");
        assert!(got.to[0].1.contains("NOTIFY=SUCCESS,FAILURE"), "{got:?}");
        assert!(got.to[0].1.contains("ORCPT=rfc822;Bob@D.test"), "{got:?}");
        // One without is sent none of them, and we say that the mail was handed on.
        mx.script(|s| s.extensions.dsn = false);
        mx.pause().await;
        mx.resume().await;
        let plain = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &plain).await;
        relay.wait_for("message.removed", &plain, SOON).await;
        assert!(org.sessions().is_empty());
        let id = client.send_with(
            "a@org.test", " RET=HDRS ENVID=e1", &["b@d.test"], " NOTIFY=SUCCESS", MESSAGE,
        ).await;
        sent(&relay, &id).await;
        let got = mx.messages().pop().unwrap();
        assert!(!format!("{} {}", got.from_params, got.to[0].1).contains("NOTIFY"), "{got:?}");
        assert!(!got.from_params.contains("RET=") && !got.from_params.contains("ENVID"), "{got:?}");
        let notice = org.wait_for_message(SOON).await;
        let report = unfolded(&parts(&notice)[1].1);
        for line in ["Action: relayed", "Status: 2.0.0", "Original-Envelope-Id: e1"] {
            assert!(report.lines().any(|l| l == line), "{line}: {report}");
        }
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(org.messages().len(), 1);
    }

    async fn a6_10_f2_09_f3_01_amb_28_mail_given_up_comes_back_with_the_policys_story() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let config = net.config()
            .set("queue.retry", "[\"1s\"]")
            .set("queue.lifetime", "\"8s\"");
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        assert_eq!(event.text("dsn"), "4.4.7", "{event}");
        assert_eq!(event.text("level"), "error", "{event}");
        assert!(event.at("/attempt").as_u64().unwrap() >= 2, "{event}");
        assert!(event.at("/delay").as_f64().unwrap() >= 8.0, "{event}");
        assert!(!events_of(&relay, "delivery.deferred", &id).is_empty());
        mx.assert_no_mail();
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        let report = unfolded(&parts[1].1);
        for line in ["Action: failed", "Status: 4.4.7"] {
            assert!(report.lines().any(|l| l == line), "{line}: {report}");
        }
        assert!(report.contains("Diagnostic-Code: X-Local;"), "{report}");
        let told = parts[0].1.replace("\r\n", " ");
        for word in ["d.test", "mx.d.test", "MTA-STS", "enforce", "id 1", "expired", "administrator"] {
            assert!(told.contains(word), "{word}: {}", parts[0].1);
        }
        relay.wait_for("message.removed", &id, SOON).await;
        assert_eq!(org.messages().len(), 1);
    }

    async fn f1_17_f2_10_f3_03_a_delay_is_told_once_and_says_until_when_the_mail_waits() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let config = net.config()
            .set("queue.retry", "[\"1s\"]")
            .set("queue.delay-warning", "\"1s\"");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        let quiet = client.send_with("a@org.test", "", &["q@d.test"], " NOTIFY=FAILURE", MESSAGE).await;
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        let report = unfolded(&parts[1].1);
        for line in ["Action: delayed", "Status: 4.7.10", "Final-Recipient: rfc822;b@d.test"] {
            assert!(report.lines().any(|l| l == line), "{line}: {report}");
        }
        assert!(report.contains("Will-Retry-Until: "), "{report}");
        assert!(parts[0].1.contains("only a warning"), "{}", parts[0].1);
        // Two attempts later there is still one notice, and none for who did not ask.
        for _ in 0..2 {
            let seen = relay.events().len();
            ok(&relay, &["queue", "retry", "--all"]).await;
            for id in [&id, &quiet] {
                let again = |e: &Event| e.is("delivery.deferred") && e.text("queue_id") == id;
                relay.wait_event_after(seen, again, SOON).await;
            }
        }
        assert_eq!(relay.events().iter().filter(|e| e.is("dsn.sent")).count(), 1);
        assert_eq!(org.messages().len(), 1);
        mx.assert_no_mail();
    }

    async fn f1_17_f3_03_e5_01_a_delay_is_told_when_it_is_time_and_not_with_the_next_attempt() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let config = net.config()
            .set("queue.retry", "[\"1h\"]")
            .set("queue.delay-warning", "\"2s\"");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        let quiet = client.send_with("a@org.test", "", &["q@d.test"], " NOTIFY=FAILURE", MESSAGE).await;
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        relay.wait_for("delivery.deferred", &id, SOON).await;
        let told = relay.wait_for("dsn.sent", &id, SOON).await;
        assert_eq!(told.text("kind"), "delayed", "{told}");
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        let report = unfolded(&parts[1].1);
        for line in ["Action: delayed", "Status: 4.7.10", "Final-Recipient: rfc822;b@d.test"] {
            assert!(report.lines().any(|l| l == line), "{line}: {report}");
        }
        assert!(report.contains("Last-Attempt-Date: ") && report.contains("Will-Retry-Until: "), "{report}");
        let prose = parts[0].1.replace("\r\n", " ");
        for word in ["only a warning", "again and again", "MTA-STS, mode enforce, policy id 1", "The message waits"] {
            assert!(prose.contains(word), "{word}: {prose}");
        }
        // That was no attempt, and the next one comes when it would have come.
        assert_eq!(events_of(&relay, "delivery.deferred", &id).len(), 1, "{}", relay.story());
        let shown = ok(&relay, &["queue", "list", "--json"]).await.stdout;
        let item = shown.lines().find(|line| line.contains(&id)).unwrap();
        assert!(item.contains("\"deferred\"") && item.contains("tls-not-offered"), "{item}");
        ok(&relay, &["queue", "retry", &id]).await;
        let second = |e: &Event| e.is("delivery.deferred") && e.text("queue_id") == id && e.at("/attempt") == 2;
        relay.wait_event(second, SOON).await;
        assert_eq!(events_of(&relay, "delivery.deferred", &quiet).len(), 1, "{}", relay.story());
        assert_eq!(org.messages().len(), 1);
        mx.assert_no_mail();
    }

    async fn f3_01_what_an_operator_returns_comes_back_with_the_policys_story() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.1.1");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.1.2");
        let _one = FakeMx::start("127.0.1.1:25", "mx1.d.test", None).await;
        let _two = FakeMx::start("127.0.1.2:25", "mx2.d.test", None).await;
        net.enforce_for("d.test", &["*.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        relay.wait_for("delivery.deferred", &id, SOON).await;
        ok(&relay, &["queue", "bounce", &id]).await;
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        let prose = parts[0].1.replace("\r\n", " ").replace("  ", "");
        for word in [
            "returned by an operator", "mx1.d.test [127.0.1.1]", "mx2.d.test [127.0.1.2]",
            "MTA-STS, mode enforce, policy id 1", "https://mta-sts.d.test/.well-known/mta-sts.txt",
            "What can be done", "administrator of",
        ] {
            assert!(prose.contains(word), "{word}: {prose}");
        }
        assert!(parts[1].1.contains("Last-Attempt-Date: "), "{}", parts[1].1);
        assert!(!parts[1].1.contains("Remote-MTA: "), "no host has said so: {}", parts[1].1);
    }

    async fn f2_08_a_host_that_nobody_could_reach_has_reported_nothing() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let relay = Relay::start(net.config().set("queue.lifetime", r#""1s""#)).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!((event.text("reason"), event.text("mx")), ("connect", "mx.d.test"), "{event}");
        let notice = org.wait_for_message(SOON).await;
        let parts = parts(&notice);
        assert!(parts[0].1.contains("mx.d.test"), "the text says what was tried: {}", parts[0].1);
        assert!(parts[1].1.contains("Status: 4.4.7"), "{}", parts[1].1);
        assert!(!parts[1].1.contains("Remote-MTA: "), "{}", parts[1].1);
    }

    async fn what_ends_while_its_destination_is_left_alone_was_not_tried_for_that() {
        let net = Net::start().await;
        let _org = net.plain_mx("org.test", "127.0.1.9").await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let relay = Relay::start(net.config().set("queue.lifetime", r#""3s""#)).await;
        // So many failures in a row have it left alone for a minute.
        for _ in 0..3 {
            relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        }
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!((event.text("reason"), event.at("/attempt").as_u64()), ("connect", None), "{event}");
    }

    async fn the_time_of_a_warning_is_shown_as_no_attempt() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 later".into())));
        let config = net.config()
            .set("queue.retry", r#"["1h"]"#)
            .set("queue.delay-warning", r#""20m""#);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.deferred", &id, SOON).await;
        let listed = ok(&relay, &["queue", "list", "--json"]).await.stdout;
        let item = Event(serde_json::from_str(&listed).unwrap());
        // Of an hour and up to a tenth the hour is certain.
        let spread = time(&event, "/next_attempt") - time(&item, "/next_attempt");
        assert!((0..=361).contains(&spread), "{item} {event}");
    }

    async fn e5_04_mail_that_was_put_off_is_warned_of_once_and_given_up_in_time() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        // Nobody listens there.
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let config = net.config()
            .set("queue.delay-warning", "\"12s\"")
            .set("queue.lifetime", "\"25s\"");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        for n in 0..3 {
            let id = client.send("", &[&format!("u{n}@d.test")], MESSAGE).await;
            relay.wait_for("delivery.deferred", &id, SOON).await;
        }
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let put_off = relay.wait_for("delivery.deferred", &id, SOON).await;
        assert_eq!(put_off.text("reason"), "destination-suspended", "{put_off}");
        assert_eq!(put_off.text("dsn"), "4.4.1", "{put_off}");
        // Why it waits, and for whom, is known without a word about each message.
        let listed = ok(&relay, &["queue", "list", "--domain", "d.test", "--json"]).await.stdout;
        let item = listed.lines().find(|line| line.contains(&id)).unwrap();
        assert!(item.contains("is suspended for another"), "{item}");
        // The cause comes first.
        assert!(item.contains("\"detail\":\"No connection could be made to "), "{item}");
        let why = ok(&relay, &["explain", &id]).await.stdout;
        assert!(why.contains("is suspended for another"), "{why}");
        let summary = ok(&relay, &["queue", "summary"]).await.stdout;
        assert!(summary.contains("destination-suspended"), "{summary}");
        let notice = org.wait_for_message(SOON).await;
        assert!(notice.text().contains("Action: delayed"), "{}", notice.text());
        let end = relay.wait_for("delivery.expired", &id, SOON).await;
        assert_eq!(end.text("reason"), "connect", "{end}");
        assert!(end.at("/delay").as_f64().unwrap() >= 25.0, "{end}");
        org.wait_for_messages(2, SOON).await;
        // Once when it came, once with the warning; no more.
        assert_eq!(events_of(&relay, "delivery.deferred", &id).len(), 2, "{}", relay.story());
    }

    async fn e5_08_f2_17_f4_02_f4_04_each_failure_is_told_once_to_whom_it_concerns() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        net.zone.mx("null.test", 0, ".");
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())).about("rcpt@"));
        mx.rule(Rule::always("MAIL", Action::Reply("550 5.7.1 no".into())).about("mail@"));
        mx.rule(Rule::always(".", Action::Reply("554 5.6.0 no".into())));
        let relay = net.relay().await;
        let mut client = relay.client().await;
        // An automatic message has a right to its notice, and asks in vain for a read receipt.
        let automatic = [
            b"Auto-Submitted: auto-generated\r\nDisposition-Notification-To: <spy@org.test>\r\n\
              Precedence: bulk\r\n",
            MESSAGE,
        ].concat();
        let causes = [
            ("@hop.test,@hop2.test:a@org.test", "b@nowhere.test", "5.1.2"),
            ("a@org.test", "b@null.test", "5.1.10"),
            ("a@org.test", "rcpt@d.test", "5.1.1"),
            ("mail@org.test", "b@d.test", "5.7.1"),
            ("a@org.test", "dot@d.test", "5.6.0"),
        ];
        for (n, (from, to, status)) in causes.into_iter().enumerate() {
            let id = client.send(from, &[to], &automatic).await;
            let event = bounced(&relay, &id).await;
            assert_eq!(event.text("dsn"), status, "{event}");
            relay.wait_for("message.removed", &id, SOON).await;
            let notice = org.wait_for_messages(n + 1, SOON).await.pop().unwrap();
            // RFC 5321 section 4.1.1.3: of a source route only the last hop is left.
            let sender = if from.starts_with('@') { "a@org.test" } else { from };
            assert_eq!(notice.recipients(), [sender]);
            let text = notice.text();
            assert!(text.contains(&format!("Status: {status}")), "{text}");
            assert!(text.contains(&format!("To: <{sender}>")), "{text}");
            assert_eq!(events_of(&relay, "dsn.sent", &id).len(), 1);
        }
        assert_eq!(org.messages().len(), causes.len(), "nothing else was made of them");
    }

    async fn f4_03_f4_07_a_notice_that_cannot_be_delivered_makes_no_other_notice() {
        let net = Net::start().await;
        let (mx, org) = peers(&net).await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())));
        org.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 nobody either".into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        bounced(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        let dsn_id = told.text("dsn_id").to_owned();
        let event = bounced(&relay, &dsn_id).await;
        assert_eq!((event.text("from"), event.text("to")), ("", "a@org.test"), "{event}");
        relay.wait_for("message.removed", &dsn_id, SOON).await;
        assert_eq!(relay.events().iter().filter(|e| e.is("dsn.sent")).count(), 1);
        assert_eq!(ok(&relay, &["queue", "list", "--json"]).await.stdout, "");
    }
}

/// The mail exchangers of `d.test` and of the sender's `org.test`, both without TLS.
async fn peers(net: &Net) -> (FakeMx, FakeMx) {
    let mx = net.plain_mx("d.test", "127.0.0.25").await;
    (mx, net.plain_mx("org.test", "127.0.1.9").await)
}

/// The parts of a multipart/report (RFC 6522): header and content.
fn parts(notice: &ReceivedMessage) -> Vec<(String, String)> {
    let text = notice.text();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    let header = unfolded(header);
    assert!(header.contains("Content-Type: multipart/report"), "{text}");
    assert!(header.contains("report-type=delivery-status"), "{text}");
    let boundary = header
        .split("boundary=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(
        body.trim_end().ends_with(&format!("--{boundary}--")),
        "{text}"
    );
    let delimiter = format!("--{boundary}\r\n");
    body.split(&delimiter)
        .skip(1)
        .map(|part| {
            let end = format!("\r\n--{boundary}--");
            let part = part.split(&end).next().unwrap();
            let (header, content) = part.split_once("\r\n\r\n").unwrap();
            (header.to_owned(), content.trim_end().to_owned())
        })
        .collect()
}

/// Continuation lines joined, line ends as `\n`.
fn unfolded(text: &str) -> String {
    text.replace("\r\n ", " ")
        .replace("\r\n\t", " ")
        .replace("\r\n", "\n")
}
