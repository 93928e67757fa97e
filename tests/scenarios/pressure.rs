//! Many domains, hosts, failures at once: what is bounded, and who has to wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sealpost_tests::{Event, Relay};
use testkit::{Action, FakeMx, RecordType, Rule};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, ok, sent};

testkit::net_test! {
    async fn h1_17_of_five_hundred_hosts_the_best_are_tried_and_it_is_told() {
        let net = Net::start().await;
        for n in (0..500).rev() {
            let host = format!("mx{n}.d.test");
            net.zone.mx("d.test", n, &host).a(&host, &format!("127.1.{}.{}", n / 250, n % 250 + 1));
        }
        // One that is beyond what is looked at answers; that does not make the mail undeliverable.
        let far = net.peer("mx400.d.test", "127.1.1.151").await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let tried = event.at("/tried").as_array().unwrap();
        assert!(tried.len() <= 21, "{event}");
        let names: Vec<&str> = tried.iter().filter_map(|t| t["mx"].as_str()).take(10).collect();
        let best: Vec<String> = (0..10).map(|n| format!("mx{n}.d.test")).collect();
        assert_eq!(names, best, "{event}");
        let told = relay.wait_event(|e| e.is("smtp.out.mx-cap"), SOON).await;
        assert_eq!((told.text("domain"), told.text("hosts"), told.text("tried")), ("d.test", "500", "20"));
        let looked_up = (0..500).filter(|n| net.zone.count(&format!("mx{n}.d.test"), RecordType::A) > 0);
        assert_eq!(looked_up.count(), 20);
        far.assert_no_mail();
        // The best of them takes the mail.
        let first = net.peer("mx0.d.test", "127.1.0.1").await;
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(first.messages().len(), 1);
    }

    async fn h1_22_the_address_that_was_looked_up_is_the_one_connected_to() {
        let net = Net::start().await;
        // Nothing may be remembered: whoever asks twice is seen to.
        net.zone.ttl(0);
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        // What a second answer would have: allowed for nobody.
        let config = net.config()
            .set("egress.allow-special-use", r#"["127.0.0.25/32", "127.0.0.80/32"]"#);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("ip"), "127.0.0.25", "{event}");
        for host in ["mx.d.test", "mta-sts.d.test"] {
            assert_eq!(net.zone.count(host, RecordType::A), 1, "{host}: {:?}", net.zone.queries());
        }
        // From now on the names lead elsewhere: to an address that is refused before any packet.
        for (host, was) in [("mx.d.test", "127.0.0.66"), ("mta-sts.d.test", "127.0.0.81")] {
            net.zone.remove(host, RecordType::A).a(host, was);
        }
        let private = net.peer("mx.d.test", "127.0.0.66").await;
        let refused = relay.cli(&["policy", "refresh", "d.test"]).await;
        assert!(refused.stderr.contains("127.0.0.81"), "{refused:?}");
        let id = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        let event = relay.wait_event(
            |e| e.text("queue_id") == id && e.text("event").starts_with("delivery."), SOON,
        ).await;
        // Over the connection that is kept, or refused; never to the new address.
        assert!(event.is("delivery.sent") || event.text("reason") == "address-refused", "{event}");
        assert!(private.sessions().is_empty());
        assert!(!mx.messages().is_empty());
    }

    async fn h9_06_certificate_chains_that_cost_much_hold_up_nobody() {
        let net = Net::start().await;
        let maze = net.ca.maze("mx.maze.test", 60);
        let mut hosts = Vec::new();
        for n in 0..MAZES {
            let (domain, ip) = (format!("maze{n}.test"), format!("127.0.2.{n}"));
            net.zone.mail_domain(&domain, "mx.maze.test", "127.0.2.0");
            if n == 0 {
                hosts.push(FakeMx::start(&format!("{ip}:25"), "mx.maze.test", Some(&maze)).await);
            }
        }
        let good = net.mx("d.test", "127.0.0.25").await;
        let config = net.config()
            .set("delivery.connections-per-host", "40")
            .set("delivery.tls", "\"verified\"");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        let mut ids = Vec::new();
        for n in 0..MAZES {
            ids.push(client.send("a@org.test", &[&format!("b@maze{n}.test")], MESSAGE).await);
        }
        let began = Instant::now();
        let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(relay.http_get("/healthz").await.0, 200);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        sent(&relay, &id).await;
        for id in &ids {
            let event = deferred(&relay, id).await;
            assert_eq!(event.text("reason"), "cert-not-trusted", "{event}");
        }
        assert_eq!(good.messages().len(), 1);
        hosts[0].assert_no_mail();
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_delivery_seconds_bucket{le=\"+Inf\",stage=\"connect\"}")
            || metrics.contains("sealpost_delivery_seconds_bucket{stage=\"connect\",le=\"+Inf\"}"), "{metrics}");
    }

    async fn h9_08_when_ports_towards_one_host_run_out_only_its_mail_waits() {
        let net = Net::start().await;
        let busy = net.plain_mx("d.test", "127.0.0.25").await;
        let other = net.plain_mx("e.test", "127.0.0.26").await;
        busy.rule(Rule::always("MAIL", Action::Stall));
        let relay = net.relay().await;
        let mut client = relay.client().await;
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let mut ids = Vec::new();
        for n in 0..8 {
            ids.push(client.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await);
        }
        // Of this namespace: a connection needs a port that no other to the same address has.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "61000 61002").unwrap();
        ok(&relay, &["queue", "resume", "d.test"]).await;
        let failed = relay.wait_event(|e| e.is("delivery.deferred"), SOON).await;
        assert_eq!((failed.text("reason"), failed.text("domain")), ("connect", "d.test"), "{failed}");
        assert!(failed.text("detail").contains("EADDRNOTAVAIL"), "{failed}");
        assert!(failed.text("dsn").starts_with("4."), "{failed}");
        for n in 0..3 {
            let id = client.send("a@org.test", &[&format!("v{n}@e.test")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!(other.messages().len(), 3);
        let suspended = |e: &Event| e.is("destination.suspended");
        assert!(relay.events().iter().filter(|e| suspended(e)).all(|e| e.text("destination") == "d.test"));
        // With ports again, everything goes.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999").unwrap();
        busy.pause().await;
        // The last of those that had a port, too.
        for id in &ids {
            deferred(&relay, id).await;
        }
        busy.behave().resume().await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        busy.wait_for_messages(ids.len(), SOON).await;
    }

    async fn h9_10_after_an_outage_mail_goes_out_by_a_ramp_the_oldest_first() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let relay = net.relay().await;
        let mut client = relay.client().await;
        for n in 0..60 {
            let id = client.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        let outage = relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        assert_eq!(outage.text("destination"), "d.test", "{outage}");
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        // The first one is held up until all others are in nobody's hands: what is put off while the order is under way
        // has been put back by then, and nothing but the queue decides which comes next.
        mx.rule(Rule::always("MAIL", Action::Hold));
        ok(&relay, &["queue", "retry", "--all"]).await;
        mx.wait_for_command("MAIL", SOON).await;
        let quiet = sealpost_tests::eventually(SOON, async || {
            let listed = ok(&relay, &["queue", "list", "--json", "--limit", "100"]).await.stdout;
            let count = |state: &str| listed.matches(&format!("\"state\":\"{state}\"")).count();
            ((count("active"), count("queued")) == (1, 59)).then_some(())
        });
        assert!(quiet.await.is_some(), "{}", relay.story());
        // Each message takes a while, so that sessions are seen side by side.
        mx.behave().rule(Rule::always("DATA", Action::Delay(Duration::from_millis(50))));
        let got = mx.wait_for_messages(60, SOON).await;
        // One probe; one session more for each success at most.
        for (begun, session) in mx.sessions().iter().enumerate() {
            assert!(begun <= session.after, "{begun} after {}: {}", session.after, mx.transcript_text());
        }
        assert!(mx.most_open() <= 20, "{}", mx.most_open());
        // Each is overtaken by those that go out beside it at most, but for the first, which was on its way before.
        let order: Vec<usize> = got.iter().map(|m| number(&m.to[0].0)).collect();
        let places = |those: std::ops::Range<usize>| -> usize {
            let places = order.iter().enumerate().filter(|(_, n)| those.contains(n));
            places.map(|(place, _)| place).sum()
        };
        assert!(places(0..20) + 20 * 15 < places(40..60), "{order:?}");
        let each: BTreeSet<String> = got.iter().map(|m| m.to[0].0.clone()).collect();
        assert_eq!((each.len(), mx.messages().len()), (60, 60), "{each:?}");
    }

    async fn f1_07_parameters_of_notifications_change_no_decision() {
        let net = Net::start().await;
        net.zone.mx("null.test", 0, ".");
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        let config = net.config()
            .set("access.check-recipient-domains", "true")
            .set("access.check-sender-domains", "true");
        let relay = Relay::start(config).await;
        let mail = [
            ("<a@org.test>", ""), ("<>", ""), ("<a@null.test>", ""), ("<a@org.test>", " SIZE=99999999999"),
            ("<a@org.test>", " BODY=8BITMIME"),
        ];
        let rcpt = ["<b@d.test>", "<b@null.test>", "<b@nowhere.test>", "<@>", "<b@[10.1.2.3]>", "<postmaster>"];
        let mut told = Vec::new();
        for (of_mail, of_rcpt) in [
            ("", ""),
            (" RET=HDRS ENVID=a+2Bb", " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;old@x.test"),
            (" RET=FULL", " NOTIFY=NEVER"),
        ] {
            let mut replies = Vec::new();
            for (from, more) in mail {
                let mut wire = relay.client().await;
                let reply = wire.command(&format!("MAIL FROM:{from}{more}{of_mail}")).await;
                replies.push((reply.code, reply.text()));
                for to in rcpt {
                    let reply = wire.command(&format!("RCPT TO:{to}{of_rcpt}")).await;
                    replies.push((reply.code, reply.text()));
                }
            }
            told.push(replies);
        }
        assert!(told[0].iter().any(|(code, _)| *code == 250) && told[0].iter().any(|(code, _)| *code >= 550));
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], told[2]);
    }

    async fn f4_05_what_cannot_be_delivered_is_refused_before_it_has_to_be_returned() {
        let net = Net::start().await;
        net.zone.mx("null.test", 0, ".");
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        for (on, notices) in [("true", 0), ("false", 2)] {
            let relay = Relay::start(net.config().set("access.check-recipient-domains", on)).await;
            for (to, code) in [("b@null.test", 556), ("b@nowhere.test", 550), ("b@d.test", 250)] {
                let mut wire = relay.client().await;
                wire.command("MAIL FROM:<a@org.test>").await.demand(250);
                let reply = wire.command(&format!("RCPT TO:<{to}>")).await;
                if on == "true" && code != 250 {
                    assert_eq!(reply.code, code, "{to}: {reply:?}");
                    assert!(reply.text().starts_with("5.1."), "{to}: {reply:?}");
                    let told = relay.wait_event(
                        |e| e.is("message.refused") && e.text("to") == to, SOON,
                    ).await;
                    assert_eq!(told.text("cause"), "recipient", "{told}");
                    continue;
                }
                reply.demand(250);
                wire.command("DATA").await.demand(354);
                wire.write(b"Subject: x\r\n\r\n.\r\n").await;
                let id = wire.reply().await.demand(250).queue_id();
                if code == 250 {
                    sent(&relay, &id).await;
                } else {
                    bounced(&relay, &id).await;
                }
            }
            org.wait_for_messages(notices, SOON).await;
            assert_eq!(org.messages().len(), notices);
        }
    }

    async fn retrying_one_message_lifts_no_other_destinations_suspension() {
        let net = Net::start().await;
        for (domain, ip) in [("d.test", "127.0.0.25"), ("e.test", "127.0.0.26")] {
            net.zone.mail_domain(domain, &format!("mx.{domain}"), ip);
        }
        let relay = net.relay().await;
        let mut ids = Vec::new();
        for domain in ["d.test", "e.test"] {
            for n in 0..4 {
                let id = relay.send("a@org.test", &[&format!("u{n}@{domain}")], MESSAGE).await;
                deferred(&relay, &id).await;
                ids.push(id);
            }
        }
        let left_alone = async || {
            let listed = ok(&relay, &["status", "--json"]).await.json();
            let suspended = listed.to_string();
            ["d.test", "e.test"].map(|d| {
                let told = |e: &Event| e.is("destination.suspended") && e.text("destination") == d;
                (relay.events().iter().filter(|e| told(e)).count(), suspended.contains(d))
            })
        };
        assert_eq!(left_alone().await.map(|(told, _)| told), [1, 1]);
        let (d, e) = (net.peer("mx.d.test", "127.0.0.25").await, net.peer("mx.e.test", "127.0.0.26").await);
        ok(&relay, &["queue", "retry", &ids[3]]).await;
        // It is the probe, and with it the rest of its destination goes.
        d.wait_for_messages(4, SOON).await;
        assert!(e.sessions().is_empty(), "{}", e.transcript_text());
        ok(&relay, &["queue", "retry", "--domain", "e.test"]).await;
        e.wait_for_messages(4, SOON).await;
    }
}

/// Of `u17@d.test` the 17.
fn number(address: &str) -> usize {
    let (local, _) = address.split_once('@').unwrap();
    local.trim_start_matches('u').parse().unwrap()
}

const MAZES: usize = 12;
