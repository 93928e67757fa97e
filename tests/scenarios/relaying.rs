//! Who may send mail to the world through us: nobody else.

use sealpost_tests::{Relay, SmtpClient, Users};

use crate::net::{MESSAGE, Net, deferred, sent};

/// Row G3-04: what has made relays open at one time or another, `MAIL FROM` and `RCPT TO`. We are
/// relay.test at 127.0.0.1.
const VECTORS: [(&str, &str); 28] = [
    ("<a@far.test>", "<b@d.test>"),
    ("<a@relay.test>", "<b@d.test>"), // a forged local sender
    ("<postmaster@relay.test>", "<b@d.test>"),
    ("<root@[127.0.0.1]>", "<b@d.test>"),
    ("<>", "<b@d.test>"),                      // the null sender
    ("<a@far.test>", "<b%d.test@relay.test>"), // the %-hack
    ("<a@far.test>", "<b%d.test@[127.0.0.1]>"),
    ("<a@far.test>", "<b%d.test>"),
    ("<a@far.test>", "<b%d.test%relay.test>"),
    ("<a@far.test>", "<\"b@d.test\">"),
    ("<a@far.test>", "<\"b@d.test\"@relay.test>"), // quoted
    ("<a@far.test>", "<\"b%d.test\"@relay.test>"),
    ("<a@far.test>", "<\"b@d.test\"@[127.0.0.1]>"),
    ("<a@far.test>", "<b@d.test@relay.test>"), // two at signs
    ("<a@far.test>", "<b@d.test@[127.0.0.1]>"),
    ("<a@far.test>", "<@relay.test:b@d.test>"), // source routes
    ("<a@far.test>", "<@[127.0.0.1]:b@d.test>"),
    ("<@relay.test:a@far.test>", "<b@d.test>"),
    ("<a@far.test>", "<@relay.test,@far.test:b@d.test>"),
    ("<a@far.test>", "<d.test!b>"), // UUCP
    ("<a@far.test>", "<d.test!b@relay.test>"),
    ("<a@far.test>", "<d.test!b@[127.0.0.1]>"),
    ("<a@far.test>", "<b@[127.0.0.25]>"), // an address literal of the target
    ("<a@far.test>", "<b@d.test.>"),      // a trailing dot
    ("<a@far.test>", "<b@relay.test>"),   // ourselves: there is no mailbox here
    ("<a@far.test>", "<b@[127.0.0.1]>"),
    ("<a@far.test>", "<b@localhost>"),
    ("<a@far.test>", "b@d.test"),
];

testkit::net_test! {
    async fn g3_04_g1_04_g1_02_a_stranger_relays_nothing_on_submission_ports_either() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let users = Users::new(&[("ann@org.test", "correct horse battery")]).await;
        // The network may relay, which counts for nothing here.
        let config = net.config().set("access.connections-per-client", "1000");
        let config = users.listeners(config, &net.ca, "127.0.0.1:587", "127.0.0.1:465");
        let relay = Relay::start(config).await;
        for inside in ["no TLS", "STARTTLS", "TLS", "a login that failed"] {
            for vectors in VECTORS.chunks(8) {
                let mut client = match inside {
                    "TLS" => {
                        let address = "127.0.0.1:465".parse().unwrap();
                        SmtpClient::connect_tls(address, &net.ca, "relay.test").await
                    }
                    _ => SmtpClient::connect("127.0.0.1:587".parse().unwrap()).await,
                };
                client.ehlo("relay.test").await;
                if inside.contains("STARTTLS") || inside.contains("login") {
                    client.starttls(&net.ca, "relay.test").await;
                    client.ehlo("relay.test").await;
                }
                if inside.contains("login") {
                    client.auth_plain("ann@org.test", "guess").await.demand(535);
                }
                for (from, to) in vectors {
                    let reply = client.command(&format!("MAIL FROM:{from}")).await;
                    assert!(matches!(reply.code, 501 | 530), "{inside} {from}: {reply:?}");
                    let reply = client.command(&format!("RCPT TO:{to}")).await;
                    assert!((500..600).contains(&reply.code), "{inside} {to}: {reply:?}");
                    let reply = client.command("DATA").await;
                    assert!((500..600).contains(&reply.code), "{inside} {to}: {reply:?}");
                }
            }
        }
        mx.assert_no_mail();
        assert!(!relay.events().iter().any(|e| e.is("message.received")));
    }

    async fn g3_01_g3_02_g3_04_a_stranger_relays_nothing() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        // Everybody on loopback but the client, which speaks from 127.0.0.1.
        let config = net.config().set("access.relay-networks", "[\"127.0.0.2/32\", \"::1/128\"]");
        let relay = Relay::start(config).await;
        let mut client = SmtpClient::connect(relay.address()).await;
        // What it calls itself gives it nothing (row E4-29).
        for name in ["relay.test", "localhost", "[127.0.0.2]", "mx.d.test"] {
            client.ehlo(name).await;
            for (from, to) in VECTORS {
                let reply = client.command(&format!("MAIL FROM:{from}")).await;
                assert!(reply.code == 250 || reply.code == 501, "{from}: {reply:?}");
                let reply = client.command(&format!("RCPT TO:{to}")).await;
                assert!((500..600).contains(&reply.code), "{from} {to}: {reply:?}");
                let reply = client.command("DATA").await;
                assert!((500..600).contains(&reply.code), "{from} {to}: {reply:?}");
                client.command("RSET").await.demand(250);
                // Too many mistakes end a session; that is not what is looked at here.
                if reply.code == 421 || from == "<>" {
                    client = SmtpClient::connect(relay.address()).await;
                    client.ehlo(name).await;
                }
            }
            client = SmtpClient::connect(relay.address()).await;
        }
        // The exact words, and the session stays of use.
        client.ehlo("client.test").await;
        client.command("MAIL FROM:<a@far.test>").await.demand(250);
        let reply = client.command("RCPT TO:<b@d.test>").await.demand(550);
        assert!(reply.text().starts_with("5.7.1 Relay access denied"), "{reply:?}");
        client.command("NOOP").await.demand(250);
        client.command("QUIT").await.demand(221);
        mx.assert_no_mail();
        assert!(!relay.events().iter().any(|e| e.is("message.received")));
    }

    async fn g3_03_nobody_but_loopback_by_default_and_the_world_only_with_the_key() {
        let net = Net::start().await;
        let mut relay = Relay::start(net.config()).await;
        for (networks, dangerous, good) in [
            ("[\"0.0.0.0/0\"]", "false", false),
            ("[\"::/0\"]", "false", false),
            ("[\"0.0.0.0/1\", \"128.0.0.0/1\"]", "false", false),
            ("[\"10.0.0.0/8\"]", "false", true),
            ("[\"0.0.0.0/0\"]", "true", true),
        ] {
            relay.reconfigure(|c| {
                c.set("access.relay-networks", networks)
                    .set("access.dangerous-open-relay", dangerous)
            });
            let checked = relay.cli(&["check-config"]).await;
            let says = checked.stdout.contains("access.relay-networks");
            assert_eq!(!says, good, "{networks}: {checked:?}");
        }
        relay.restart().await;
        let told = |e: &sealpost_tests::Event| {
            let detail = e.text("detail");
            e.is("config.dangerous") && detail.starts_with("access.dangerous-open-relay")
        };
        relay.wait_event(told, crate::net::SOON).await;
    }

    async fn g3_10_nothing_that_a_submitter_says_lowers_the_policy() {
        let net = Net::start().await;
        let relay = Relay::start(net.config()).await;
        let headers = [
            "X-TLS: no",
            "X-MTA-STS: none",
            "X-Sealpost-TLS: dangerous-off",
            "TLS-Required: No",
            "TLS-Report-Domain: d.test",
            "TLS-Report-Submitter: org.test",
            "Content-Type: multipart/report; report-type=tlsrpt",
            "Auto-Submitted: auto-generated",
            "Precedence: bulk",
        ]
        .map(|header| (header, "a@org.test", "", ""));
        let commands = [
            ("X: y", "", "", ""),
            ("X: y", "a@org.test", " SIZE=1000", ""),
            ("X: y", "a@org.test", " AUTH=<>", ""),
            ("X: y", "a@org.test", " BODY=8BITMIME", ""),
            ("X: y", "a@org.test", " RET=HDRS ENVID=x", ""),
            ("X: y", "a@org.test", " SMTPUTF8", ""),
            ("X: y", "a@org.test", "", " NOTIFY=NEVER"),
            ("X: y", "a@org.test", "", " NOTIFY=SUCCESS ORCPT=rfc822;b@plain.test"),
        ];
        let mut client = relay.client().await;
        let vectors = headers.into_iter().chain(commands).enumerate();
        for (n, (header, from, mail, rcpt)) in vectors {
            // A domain and a host for each, since failures put a destination off.
            let domain = format!("d{n}.test");
            let mx = net.mx(&domain, &format!("127.0.7.{}", n + 1)).await;
            mx.certificate(&net.expired(&format!("mx.{domain}")));
            net.enforce(&domain);
            let message = [header.as_bytes(), b"\r\n", MESSAGE].concat();
            let to = format!("b@{domain}");
            let id = client.send_with(from, mail, &[&to], rcpt, &message).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "cert-expired", "{header} {mail} {rcpt}: {event}");
            assert!(event.at("/weakened_by").is_null(), "{header} {mail} {rcpt}: {event}");
            mx.assert_no_mail();
        }
        // That is the policy's doing: without it the same host takes the mail.
        let other = net.mx("free.test", "127.0.0.26").await;
        other.certificate(&net.expired("mx.free.test"));
        let id = client.send("a@org.test", &["b@free.test"], MESSAGE).await;
        sent(&relay, &id).await;
    }
}
