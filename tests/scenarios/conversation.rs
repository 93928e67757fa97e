//! What the relay says to a mail exchanger, and what it makes of the answers.

use std::time::Duration;

use sealpost_tests::{Event, Relay};
use testkit::{Action, FakeMx, Rule};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, events_of, of_recipient, ok, sent};

testkit::net_test! {
    async fn f1_20_each_recipient_has_its_own_answer_and_nobody_elses() {
        let net = Net::start().await;
        let relay = Relay::start(net.config()).await;
        let org = net.mx("org.test", "127.0.1.9").await;
        let mx = net.mx("d.test", "127.0.1.1").await;
        for (who, reply) in [
            ("never@", "550 5.1.1 <never@d.test>: unknown"),
            ("gone@", "550 5.1.1 <gone@d.test>: unknown"),
            ("full@", "450 4.2.2 <full@d.test>: full"),
        ] {
            mx.rule(Rule::always("RCPT", Action::Reply(reply.into())).about(who));
        }
        let mut client = relay.client().await;
        client.command("MAIL FROM:<a@org.test>").await;
        client.command("RCPT TO:<never@d.test> NOTIFY=NEVER").await;
        client.command("RCPT TO:<gone@d.test>").await;
        client.command("RCPT TO:<full@d.test>").await;
        client.command("DATA").await.demand(354);
        let id = client.command("Subject: hello\r\n\r\nHello.\r\n.").await.queue_id();
        for (to, ending, code) in [("never", "bounced", "550"), ("gone", "bounced", "550"), ("full", "deferred", "450")] {
            let (kind, to_address) = (format!("delivery.{ending}"), format!("{to}@d.test"));
            let event = of_recipient(&relay, &kind, &id, &to_address).await;
            let said = event.at("/tried/0/detail").to_string();
            assert!(said.contains(&format!("{code} ")) && said.contains(to), "{event}");
            let others = ["never", "gone", "full"].into_iter().filter(|other| *other != to);
            assert!(others.clone().all(|other| !event.to_string().contains(&format!("<{other}@d.test>"))), "{event}");
        }
        let notice = org.wait_for_message(SOON).await.text();
        assert!(notice.contains("<gone@d.test>") && !notice.contains("never@"), "{notice}");
    }

    async fn e1_11_as_many_addresses_are_tried_as_may_be() {
        let net = Net::start().await;
        for (n, ip) in ["127.0.1.1", "127.0.1.2", "127.0.1.3"].into_iter().enumerate() {
            let name = format!("mx{n}.d.test");
            net.zone.mx("d.test", 10 + n as u16, &name).a(&name, ip);
        }
        let third = FakeMx::start("127.0.1.3:25", "mx2.d.test", None).await;
        let relay = Relay::start(net.config().set("delivery.max-addresses", "2")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "connect", "{event}");
        assert!(event.at("/tried").to_string().contains("delivery.max-addresses"), "{event}");
        assert!(third.sessions().is_empty());
        drop(relay);
        let relay = Relay::start(net.config().set("delivery.max-addresses", "3")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("ip"), "127.0.1.3");
    }

    async fn e1_22_a_family_that_is_not_answered_does_not_keep_the_other_waiting() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let six: std::net::Ipv6Addr = "::1".parse().unwrap();
        net.zone.add("mx.d.test", testkit::RData::AAAA(six.into()));
        // A full backlog swallows every further connection.
        let hole = tokio::net::TcpSocket::new_v6().unwrap();
        hole.bind("[::1]:25".parse().unwrap()).unwrap();
        let hole = hole.listen(0).unwrap();
        let mut stuck = Vec::new();
        for _ in 0..4 {
            let connecting = tokio::net::TcpStream::connect(hole.local_addr().unwrap());
            stuck.push(tokio::time::timeout(Duration::from_millis(300), connecting).await);
        }
        assert!(stuck.last().unwrap().is_err(), "the hole is black");
        let config = net.config().set("egress.allow-special-use", r#"["127.0.0.0/8", "::1/128"]"#);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("ip"), "127.0.0.25", "{event}");
        assert_eq!(event.at("/tried/0/ip"), "::1", "{event}");
        // The limit for one connection is 30 s; the next family came sooner.
        let connect = event.at("/delays/connect").as_f64().unwrap();
        assert!((5.0..25.0).contains(&connect), "{event}");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn e2_11_556_is_final_for_that_recipient_alone() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("556 no mail for this one".into())).about("b@"));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test", "c@d.test"], MESSAGE).await;
        let event = of_recipient(&relay, "delivery.bounced", &id, "b@d.test").await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.1.10"), "{event}");
        of_recipient(&relay, "delivery.sent", &id, "c@d.test").await;
        assert_eq!(mx.messages()[0].recipients(), ["c@d.test"]);
    }

    async fn e2_35_552_to_mail_is_final_and_452_is_not() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        mx.rule(Rule::always("MAIL", Action::Reply("552 5.3.4 too large for us".into())));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-5xx", "5.3.4"), "{event}");
        mx.behave();
        mx.rule(Rule::always("MAIL", Action::Reply("452 4.3.1 no room just now".into())));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("remote-4xx", "4.3.1"), "{event}");
    }

    async fn e2_40_signed_mail_is_bounced_rather_than_changed() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.eight_bit_mime = false);
        let relay = net.relay().await;
        let mut client = relay.client().await;
        client.command("MAIL FROM:<a@org.test> BODY=8BITMIME").await.demand(250);
        client.command("RCPT TO:<b@d.test>").await.demand(250);
        client.command("DATA").await.demand(354);
        let message = "DKIM-Signature: v=1; a=rsa-sha256; d=org.test; s=x; h=from; bh=AAAA; b=AAAA\r\n\
            From: a@org.test\r\n\r\nGrüße\r\n.\r\n";
        client.write(message.as_bytes()).await;
        let id = client.reply().await.demand(250).queue_id();
        let event = bounced(&relay, &id).await;
        assert_eq!((event.text("reason"), event.text("dsn")), ("extension-missing", "5.6.3"), "{event}");
        mx.assert_no_mail();
    }

    async fn e2_43_our_name_in_ehlo_is_made_of_a_labels() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let relay = Relay::start(net.config().set("server.hostname", "\"bücher.test\"")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(mx.messages()[0].helo, "xn--bcher-kva.test");
    }

    async fn e5_12_h3_16_a_message_of_unknown_fate_goes_to_the_same_host_first_and_is_counted() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx1.d.test").a("mx1.d.test", "127.0.0.21");
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.0.22");
        let second = net.peer("mx2.d.test", "127.0.0.22").await;
        second.rule(Rule::once(".", Action::AcceptThenClose));
        // The first one is down at the first attempt, and up at the second.
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.at("/tried/1/mx"), "mx2.d.test", "{event}");
        assert!(event.text("detail").contains("twice"), "{event}");
        let told = relay.wait_event(|e: &Event| e.is("smtp.out.dot-unknown"), SOON).await;
        assert_eq!((told.text("queue_id"), told.text("mx")), (&*id, "mx2.d.test"), "{told}");
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_possible_duplicates_total 1"), "{metrics}");
        let first = net.peer("mx1.d.test", "127.0.0.21").await;
        ok(&relay, &["queue", "retry", &id]).await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(event.text("mx"), "mx2.d.test", "{event}");
        assert!(first.sessions().is_empty());
        assert_eq!(second.messages().len(), 2, "one duplicate at most");
        // Other mail has the usual order.
        let id = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "mx1.d.test");
    }

    async fn h3_17_a_250_that_comes_too_late_may_double_the_message_and_never_loses_it() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::once(".", Action::Delay(Duration::from_secs(12))));
        let relay = Relay::start(net.config().set("delivery.timeouts.data-done", "\"8s\"")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "timeout");
        mx.wait_for_message(SOON).await;
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 2);
    }

    async fn h3_25_a_slow_host_that_is_listed_is_not_passed_over_for_a_quick_one_that_is_not() {
        let net = Net::start().await;
        for (name, ip) in [("mx1.d.test", "127.0.0.21"), ("mx2.d.test", "127.0.0.22")] {
            net.zone.mx("d.test", 10, name).a(name, ip);
        }
        let slow = net.peer("mx1.d.test", "127.0.0.21").await;
        slow.rule(Rule::always("EHLO", Action::Delay(Duration::from_secs(1))));
        let quick = net.peer("mx2.d.test", "127.0.0.22").await;
        net.enforce_for("d.test", &["mx1.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.text("mx"), "mx1.d.test");
        assert!(quick.sessions().is_empty());
    }

    async fn h3_26_two_names_of_one_address_are_judged_by_name() {
        let net = Net::start().await;
        net.zone.mx("d.test", 10, "mx.evil.test").a("mx.evil.test", "127.0.0.25");
        net.zone.mx("d.test", 20, "mx.d.test").a("mx.d.test", "127.0.0.25");
        let leaf = net.ca.leaf(&["mx.evil.test", "mx.d.test"]);
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", Some(&leaf)).await;
        net.enforce_for("d.test", &["mx.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("mx"), "mx.d.test", "{event}");
        assert_eq!(event.at("/tried/0/mx"), "mx.evil.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "mx-not-in-policy", "{event}");
        assert_eq!(mx.sessions().len(), 1);
    }

    async fn limits_of_rfc_9422_are_kept() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.more.push("LIMITS RCPTMAX=2 MAILMAX=1 RCPTDOMAINMAX=1".into()));
        let relay = net.relay().await;
        let to = ["a@d.test", "b@d.test", "c@d.test", "d@d.test", "e@d.test"];
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        for to in to {
            of_recipient(&relay, "delivery.sent", &id, to).await;
        }
        let messages = mx.messages();
        let each: Vec<usize> = messages.iter().map(|m| m.to.len()).collect();
        assert_eq!(each, [2, 2, 1], "{}", mx.transcript_text());
        assert_eq!(mx.sessions().len(), 3, "one MAIL for each session");
    }

    async fn who_has_the_mail_does_not_get_it_again_because_the_host_is_crowded() {
        let net = Net::start().await;
        let mx = net.peer("mx.shared.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.more.push("LIMITS RCPTMAX=2 MAILMAX=1".into()));
        mx.rule(Rule::always("MAIL", Action::Delay(Duration::from_secs(6))).about("a@org.test"));
        mx.rule(Rule::always("MAIL", Action::Delay(Duration::from_secs(14))).about("slow@org.test"));
        net.zone.mx("d.test", 10, "mx.shared.test").a("mx.shared.test", "127.0.0.25");
        net.zone.mx("e.test", 10, "mx.shared.test");
        let relay = Relay::start(net.config().set("delivery.connections-per-host", "1")).await;
        let to = ["a@d.test", "b@d.test", "c@d.test"];
        let id = relay.send("a@org.test", &to, MESSAGE).await;
        mx.wait_for_command("MAIL FROM:<a@org.test>", SOON).await;
        // It has the next turn at the host, and takes its time.
        let slow = relay.send("slow@org.test", &["b@e.test"], MESSAGE).await;
        for to in ["a@d.test", "b@d.test"] {
            of_recipient(&relay, "delivery.sent", &id, to).await;
        }
        // Who was not in the transaction waits for a place like any other mail.
        sent(&relay, &slow).await;
        of_recipient(&relay, "delivery.sent", &id, "c@d.test").await;
        assert!(events_of(&relay, "delivery.deferred", &id).is_empty());
        let got: Vec<_> = mx.messages().iter().map(|m| m.recipients().join(" ")).collect();
        assert_eq!(got, ["a@d.test b@d.test", "b@e.test", "c@d.test"]);
    }

    async fn e4_13_who_has_no_answer_as_the_relay_is_stopped_is_told_that_and_nothing_of_the_host() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.extensions.more.push("LIMITS RCPTMAX=1 MAILMAX=1".into()));
        mx.rule(Rule::nth("MAIL", 1, Action::Delay(Duration::from_secs(10))));
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 unknown".into())).about("a@d.test"));
        let config = net.config().set("server.drain-timeout", "\"1h\"");
        let mut relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["a@d.test", "b@d.test"], MESSAGE).await;
        mx.wait_for_command("MAIL FROM:", SOON).await;
        assert!(relay.terminate(SOON).await.success());
        of_recipient(&relay, "delivery.bounced", &id, "a@d.test").await;
        let event = of_recipient(&relay, "delivery.deferred", &id, "b@d.test").await;
        let detail = event.text("detail");
        assert!(detail.contains("was stopped before it could go on with mx.d.test"), "{event}");
        relay.restart().await;
        ok(&relay, &["queue", "retry", &id]).await;
        of_recipient(&relay, "delivery.sent", &id, "b@d.test").await;
    }

    async fn what_was_tried_names_each_hosts_own_reason() {
        let net = Net::start().await;
        for (n, ip) in [(1, "127.0.0.21"), (2, "127.0.0.22")] {
            let name = format!("mx{n}.d.test");
            net.zone.mx("d.test", 10 * n, &name).a(&name, ip);
        }
        let first = net.peer("mx1.d.test", "127.0.0.21").await;
        first.script(|s| s.extensions.more.push("LIMITS RCPTMAX=1".into()));
        first.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 come back later".into())));
        first.rule(Rule::nth("MAIL", 2, Action::Reply("451 4.3.2 that was enough".into())));
        let second = net.peer("mx2.d.test", "127.0.0.22").await;
        second.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 unknown".into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["a@d.test", "b@d.test"], MESSAGE).await;
        let event = of_recipient(&relay, "delivery.bounced", &id, "b@d.test").await;
        assert_eq!(event.at("/tried/0/mx"), "mx1.d.test", "{event}");
        assert_eq!(event.at("/tried/0/reason"), "remote-4xx", "{event}");
        assert_eq!(event.at("/tried/1/mx"), "mx2.d.test", "{event}");
        assert_eq!(event.at("/tried/1/reason"), "remote-5xx", "{event}");
    }

    async fn idle_connections_count_towards_the_limit_of_a_host() {
        let net = Net::start().await;
        let mx = net.peer("mx.shared.test", "127.0.0.25").await;
        net.zone.mx("d.test", 10, "mx.shared.test").a("mx.shared.test", "127.0.0.25");
        net.zone.mx("e.test", 10, "mx.shared.test");
        net.enforce_for("d.test", &["mx.shared.test"]);
        let config = net.config()
            .set("delivery.connections-per-host", "1")
            .set("delivery.timeouts.idle", "\"1m\"");
        let relay = Relay::start(config).await;
        // Verified, and then not: the idle one of one kind makes room for the other.
        for to in ["b@d.test", "b@e.test", "c@d.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!(mx.sessions().len(), 3, "{}", mx.transcript_text());
        let lines = mx.transcript();
        let quit = |n| lines.iter().position(|l| l.session == n && l.bytes.starts_with(b"QUIT"));
        for n in 0..2 {
            let next = lines.iter().position(|l| l.session == n + 1);
            assert!(quit(n).unwrap() < next.unwrap(), "{}", mx.transcript_text());
        }
    }

    async fn e5_05_no_host_or_domain_gets_more_connections_than_it_may_and_no_flood_delays_others() {
        let net = Net::start().await;
        let slowly = Rule::always("RCPT", Action::Delay(Duration::from_millis(100)));
        let shared = net.peer("mx.shared.test", "127.0.0.25").await;
        let own = net.mx("own.test", "127.0.0.26").await;
        let flooded = net.mx("flooded.test", "127.0.0.27").await;
        let other = net.mx("other.test", "127.0.0.28").await;
        net.zone.a("mx.shared.test", "127.0.0.25");
        for mx in [&shared, &own] {
            mx.rule(slowly.clone());
        }
        // It takes nothing before the other mail has arrived.
        flooded.rule(Rule::always("RCPT", Action::Stall));
        let mut to = vec!["b@own.test"];
        for (domain, mailbox) in [("a.test", "b@a.test"), ("b.test", "b@b.test"), ("c.test", "b@c.test")] {
            net.zone.mx(domain, 10, "mx.shared.test");
            to.push(mailbox);
        }
        let config = net.config()
            .set("delivery.connections-per-destination", "2")
            .set("delivery.connections-per-host", "3");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        for _ in 0..8 {
            for to in &to {
                client.send("a@org.test", &[to], MESSAGE).await;
            }
        }
        shared.wait_for_messages(24, SOON).await;
        own.wait_for_messages(8, SOON).await;
        assert!(shared.most_open() <= 3, "{}", shared.most_open());
        assert!(own.most_open() <= 2, "{}", own.most_open());
        // One sender's flood leaves another sender's mail alone.
        for _ in 0..60 {
            client.send("flood@org.test", &["b@flooded.test"], MESSAGE).await;
        }
        client.send("a@org.test", &["b@other.test"], MESSAGE).await;
        other.wait_for_message(SOON).await;
        assert!(flooded.most_open() <= 2, "{}", flooded.most_open());
    }

    async fn the_limit_of_an_address_holds_for_all_names_that_share_it() {
        let net = Net::start().await;
        let names = ["mx.d.test", "mx.e.test"];
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", Some(&net.ca.leaf(&names))).await;
        for domain in ["d.test", "e.test"] {
            net.zone.mail_domain(domain, &format!("mx.{domain}"), "127.0.0.25");
        }
        let config = net.config()
            .set("delivery.connections-per-host", "1")
            .set("delivery.timeouts.idle", "\"1m\"");
        let relay = Relay::start(config).await;
        for to in ["b@d.test", "b@e.test"] {
            let id = relay.send("a@org.test", &[to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let lines = mx.transcript();
        let quit = lines.iter().position(|l| l.session == 0 && l.bytes.starts_with(b"QUIT"));
        let next = lines.iter().position(|l| l.session == 1);
        assert!(quit.unwrap() < next.unwrap(), "{}", mx.transcript_text());
    }

    async fn a_busy_connection_carries_no_more_messages_than_it_may() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let config = net.config()
            .set("delivery.connections-per-destination", "1")
            .set("delivery.messages-per-connection", "2");
        let relay = Relay::start(config).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(relay.send("a@org.test", &["b@d.test"], MESSAGE).await);
        }
        for id in &ids {
            sent(&relay, id).await;
        }
        for n in 0..mx.sessions().len() {
            let carried = mx.messages().iter().filter(|m| m.session == n).count();
            assert!(carried <= 2, "{}", mx.transcript_text());
        }
    }

    async fn e2_13_a_session_that_may_carry_no_more_is_followed_by_another_at_once() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let relay = Relay::start(net.config().set("delivery.timeouts.idle", "\"1m\"")).await;
        let enough = Action::ReplyThenClose("421 4.7.0 too many messages in this session".into());
        mx.rule(Rule::nth("MAIL", 3, enough.clone()));
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let carried: Vec<usize> = mx.messages().iter().map(|m| m.session).collect();
        assert_eq!(carried, [0, 0, 1], "{}", mx.transcript_text());
        // On a fresh session it is a word about the host: no third try.
        mx.rule(Rule::always("MAIL", enough));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "remote-4xx");
        assert_eq!(mx.sessions().len(), 3, "{}", mx.transcript_text());
    }

    async fn each_recipient_is_shown_with_what_became_of_it() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no such user".into())).about("b@"));
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 greylisted".into())).about("c@"));
        let relay = net.relay().await;
        let all = ["a@d.test", "b@d.test", "c@d.test"];
        let id = relay.send("a@org.test", &all, MESSAGE).await;
        let later = of_recipient(&relay, "delivery.deferred", &id, "c@d.test").await;
        let never = of_recipient(&relay, "delivery.bounced", &id, "b@d.test").await;
        for (event, reason) in [(&later, "remote-4xx"), (&never, "remote-5xx")] {
            assert_eq!(event.at("/tried/0/reason"), reason, "{event}");
        }
        let gone = of_recipient(&relay, "delivery.sent", &id, "a@d.test").await;
        assert!(gone.at("/tried/0/reason").is_null(), "{gone}");
        let shown = ok(&relay, &["queue", "show", &id, "--json"]).await.json();
        let each: Vec<_> = shown["per_recipient"].as_array().unwrap().iter()
            .map(|r| (r["state"].as_str().unwrap(), r["reply"].as_str().unwrap()))
            .collect();
        assert_eq!(each.len(), 3, "{shown}");
        assert_eq!(each[0].0, "delivered", "{shown}");
        assert!(each[0].1.starts_with("250"), "{shown}");
        assert_eq!(each[1], ("bounced", "550 5.1.1 no such user"), "{shown}");
        assert_eq!(each[2], ("pending", "450 4.2.1 greylisted"), "{shown}");
        let whose: Vec<_> = shown["history"].as_array().unwrap().iter()
            .map(|h| h["recipients"].clone())
            .collect();
        assert_eq!(whose, all.map(|r| serde_json::json!([r])), "{shown}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        assert!(told.contains("450 4.2.1 greylisted") && !told.contains("no such user"), "{told}");
    }

    async fn the_last_dialogue_is_shown_once_for_all_that_failed_alike() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 come back later".into())));
        let relay = net.relay().await;
        let one = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &one).await;
        let two = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        deferred(&relay, &two).await;
        let mut texts = Vec::new();
        for id in [&one, &two] {
            let shown = ok(&relay, &["queue", "show", id, "--json"]).await.json();
            let text = shown.pointer("/history/0/transcript/text").and_then(|t| t.as_str());
            texts.push(text.unwrap_or_else(|| panic!("{shown}")).to_owned());
        }
        assert_eq!(texts[0], texts[1], "the last one stands for both");
        for part in ["> EHLO relay.test", "> STARTTLS", "* TLSv1.3", "> RCPT TO:<c@d.test>", "< 450 4.2.1"] {
            assert!(texts[0].contains(part), "{part}: {}", texts[0]);
        }
        assert!(texts[0].len() <= 4_096 && !texts[0].contains("Hello."), "{}", texts[0]);
        let shown = ok(&relay, &["queue", "show", &one]).await.stdout;
        assert!(shown.contains("> RCPT TO:<c@d.test>"), "{shown}");
    }
}
