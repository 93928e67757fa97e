//! The listener as clients, proxies and operators meet it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sealpost_tests::{Event, Relay, RelayConfig, SmtpClient};
use testkit::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::net::{MESSAGE, Net, SOON, TLS_LISTENER, ok};

testkit::net_test! {
    async fn g1_06_h10_07_certificates_are_replaced_without_restart_and_their_end_is_told() {
        let net = Net::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (crt, key) = (folder.path().join("crt"), folder.path().join("key"));
        install(&net.ca, "relay.test", 5, &crt, &key);
        let relay = Relay::start(with_tls(net.config(), &crt, &key, "")).await;
        let soon = relay.wait_event(|e| e.is("tls.certificate-expiring"), SOON).await;
        assert_eq!((soon.text("listener"), soon.text("level")), ("tls", "error"), "{soon}");
        assert!(soon.text("detail").contains("in 4 days"), "{soon}");
        let (_, metrics) = relay.http_get("/metrics").await;
        let gauge = metrics.lines().find(|l| l.contains("certificate_expiry_timestamp_seconds{listener=\"tls\"}"));
        assert!(gauge.is_some(), "{metrics}");
        let check = relay.cli(&["check-config"]).await;
        assert!(check.code == Some(0) && check.stdout.contains("put a new one there and reload"), "{check:?}");
        // Of two files only one is there yet: nothing changes.
        let mut client = SmtpClient::connect(TLS_LISTENER.parse().unwrap()).await;
        std::fs::copy(net.ca.leaf(&["other.test"]).cert_path, &crt).unwrap();
        let refused = relay.cli(&["reload"]).await;
        assert_ne!(refused.code, Some(0), "{refused:?}");
        client.ehlo("c.test").await;
        client.starttls(&net.ca, "relay.test").await;
        install(&net.ca, "mail.test", 300, &crt, &key);
        ok(&relay, &["reload"]).await;
        let mut client = SmtpClient::connect(TLS_LISTENER.parse().unwrap()).await;
        client.ehlo("c.test").await;
        client.starttls(&net.ca, "mail.test").await;
        client.ehlo("c.test").await;
    }

    async fn g1_07_plain_text_where_tls_is_required_is_for_networks_that_are_named() {
        let net = Net::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (crt, key) = (folder.path().join("crt"), folder.path().join("key"));
        install(&net.ca, "relay.test", 300, &crt, &key);
        let config = with_tls(net.config(), &crt, &key, "")
            .set("access.dangerous-plaintext-networks", r#"["127.0.0.7/32"]"#);
        let relay = Relay::start(config).await;
        for (from, code) in [("127.0.0.7", "250 "), ("127.0.0.8", "530 5.7.0")] {
            let mut client = hello(from, TLS_LISTENER).await;
            let reply = told(&mut client, "MAIL FROM:<a@org.test>\r\n").await;
            assert!(reply.starts_with(code), "{from}: {reply}");
        }
        let danger = |e: &Event| {
            e.is("config.dangerous") && e.text("detail").contains("plaintext-networks")
        };
        relay.wait_event(danger, SOON).await;
    }

    async fn e4_36_g3_02_strangers_may_not_relay_and_may_go_on() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let config = net.config().set("access.relay-networks", r#"["127.0.0.1/32"]"#);
        let relay = Relay::start(config).await;
        let mut client = hello("127.0.0.9", RELAY).await;
        told(&mut client, "MAIL FROM:<a@org.test>\r\n").await;
        for to in ["b@d.test", "b%d.test@relay.test", "@relay.test:b@d.test", "b@[127.0.0.25]"] {
            let reply = told(&mut client, &format!("RCPT TO:<{to}>\r\n")).await;
            assert!(reply.starts_with("550 5.7.1 "), "{to}: {reply}");
        }
        assert!(told(&mut client, "DATA\r\n").await.starts_with("55"), "nobody is left");
        assert!(told(&mut client, "RSET\r\n").await.starts_with("250 "), "the session goes on");
        let event = relay.wait_event(|e| e.is("message.refused"), SOON).await;
        assert_eq!(event.text("cause"), "relay-denied", "{event}");
        // From the address that may.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 1);
    }

    async fn h5_08_g3_05_proxies_are_believed_and_strangers_dropped() {
        let net = Net::start().await;
        let config = net.config()
            .set("access.proxy-hosts", r#"["127.0.0.5/32"]"#)
            .set("access.relay-networks", r#"["192.0.2.0/24"]"#);
        let relay = Relay::start(config).await;
        let mut proxied = connect("127.0.0.5", RELAY).await;
        let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n";
        proxied.write_all(header).await.unwrap();
        assert!(reply(&mut proxied).await.starts_with("220 "));
        for (command, code) in [
            ("EHLO c.test\r\n", "250-"),
            ("MAIL FROM:<a@org.test>\r\n", "250 "),
            ("RCPT TO:<b@d.test>\r\n", "250 "),
            ("DATA\r\n", "354 "),
            ("Subject: x\r\n\r\n.\r\n", "250 "),
        ] {
            let got = told(&mut proxied, command).await;
            assert!(got.starts_with(code), "{command}: {got}");
        }
        let received = relay.wait_event(|e| e.is("message.received"), SOON).await;
        assert_eq!(received.text("client"), "192.0.2.7", "{received}");
        let mut stranger = connect("127.0.0.6", RELAY).await;
        assert!(reply(&mut stranger).await.starts_with("220 "));
        stranger.write_all(header).await.unwrap();
        assert_eq!(rest(&mut stranger).await, "");
        let incident = |e: &Event| e.text("incident") == "proxy_untrusted";
        let event = relay.wait_event(incident, SOON).await;
        assert_eq!(event.text("client"), "127.0.0.6", "{event}");
        let mut silent = connect("127.0.0.5", RELAY).await;
        silent.write_all(b"EHLO c.test\r\n").await.unwrap();
        assert_eq!(rest(&mut silent).await, "");
        let event = relay.wait_event(|e| e.is("smtp.in.proxy-header-missing"), SOON).await;
        assert_eq!(event.text("cause"), r#""EHLO c.test\r\n" came instead of a PROXY header"#);
        assert!(event.text("remedy").contains("take it out of access.proxy-hosts"), "{event}");
        let (_, metrics) = relay.http_get("/metrics").await;
        let line = "sealpost_connections_refused_total{limit=\"proxy\"} 2";
        assert!(metrics.lines().any(|l| l == line), "{metrics}");
    }

    async fn g5_06_xclient_is_for_hosts_that_are_listed() {
        let net = Net::start().await;
        let config = net.config()
            .set("access.xclient-hosts", r#"["127.0.0.5/32"]"#)
            .set("access.relay-networks", r#"["127.0.0.0/8"]"#);
        let relay = Relay::start(config).await;
        let mut listed = hello("127.0.0.5", RELAY).await;
        let greeting = told(&mut listed, "XCLIENT ADDR=198.51.100.7 HELO=x.test\r\n").await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        told(&mut listed, "MAIL FROM:<a@org.test>\r\n").await;
        let refused = told(&mut listed, "RCPT TO:<b@d.test>\r\n").await;
        assert!(refused.starts_with("550 5.7.1 "), "judged as the other: {refused}");
        let event = relay.wait_event(|e| e.is("message.refused"), SOON).await;
        assert_eq!((event.text("client"), event.text("helo")), ("198.51.100.7", "x.test"), "{event}");
        let mut stranger = hello("127.0.0.6", RELAY).await;
        let refused = told(&mut stranger, "XCLIENT ADDR=127.0.0.1\r\n").await;
        assert!(refused.starts_with("550 5.7.0 "), "{refused}");
    }

    async fn g5_06_events_name_the_client_of_a_server_in_front() {
        let net = Net::start().await;
        let config = net.config().set("access.xforward-hosts", r#"["127.0.0.7"]"#);
        let relay = Relay::start(config).await;
        let mut front = hello("127.0.0.7", RELAY).await;
        for (line, code) in [
            ("XFORWARD ADDR=999.1.1.1", "501 5.5.4 "),
            ("XFORWARD NAME=spike.test ADDR=192.0.2.7 PORT=4711 HELO=spike PROTO=ESMTP", "250 "),
            ("MAIL FROM:<s@org.test>", "250 "),
            ("RCPT TO:<b@c@d.test>", "501 5.1.3 "),
            ("RCPT TO:<a@d.test>", "250 "),
            ("BDAT 2 LAST\r\n", "250 "),
        ] {
            let reply = told(&mut front, &format!("{line}\r\n")).await;
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
        for event in ["message.refused", "message.received"] {
            let event = relay.wait_event(|e| e.is(event), SOON).await;
            for (field, want) in [("name", "spike.test"), ("ip", "192.0.2.7"), ("helo", "spike"), ("proto", "ESMTP")] {
                assert_eq!(event.at(&format!("/orig_client/{field}")), want, "{event}");
            }
            assert_eq!(event.at("/orig_client/port"), 4711, "{event}");
            assert_eq!((event.text("client"), event.text("from")), ("127.0.0.7", "s@org.test"), "{event}");
        }
        let refused = relay.wait_event(|e| e.is("message.refused"), SOON).await;
        assert_eq!(refused.text("to"), "b@c@d.test", "{refused}");
    }

    async fn g5_06_g3_07_who_a_proxy_says_has_logged_in_has_that_identitys_rules() {
        let net = Net::start().await;
        // Decomposed and with a no-break space, which no user's name can have.
        let config = net.config().set("access.xclient-hosts", r#"["127.0.0.5/32"]"#).append(
            "[[identity]]\nname = \"Mu\u{308}ller\u{a0}GmbH\"\nsenders = [\"crm@org.test\"]",
        );
        let _relay = Relay::start(config).await;
        for login in ["Mu+CC+88ller+C2+A0GmbH", "M+C3+BCller+20GmbH"] {
            let mut proxy = hello("127.0.0.5", RELAY).await;
            let claim = format!("XCLIENT ADDR=198.51.100.7 LOGIN={login}\r\n");
            assert!(told(&mut proxy, &claim).await.starts_with("220 "));
            told(&mut proxy, "EHLO c.test\r\n").await;
            let refused = told(&mut proxy, "MAIL FROM:<boss@org.test>\r\n").await;
            assert!(refused.starts_with("550 5.7.1 M") && refused.contains("may not send as"), "{login}: {refused}");
            let taken = told(&mut proxy, "MAIL FROM:<crm@org.test>\r\n").await;
            assert!(taken.starts_with("250 "), "{login}: {taken}");
        }
    }

    async fn g5_08_e1_19_what_dns_says_may_refuse_and_what_mta_sts_says_may_not() {
        let net = Net::start().await;
        net.zone.mx("null.test", 0, ".");
        // An enforce policy that no host of the domain fulfils.
        let mx = net.plain_mx("enf.test", "127.0.0.25").await;
        net.enforce("enf.test");
        let checking = net.config()
            .set("access.check-recipient-domains", "true")
            .set("access.check-sender-domains", "true");
        for (config, on) in [(checking, true), (net.config(), false)] {
            let relay = Relay::start(config).await;
            let mut wire = relay.client().await;
            let sender = wire.command("MAIL FROM:<a@null.test>").await;
            assert_eq!(sender.code, if on { 550 } else { 250 }, "{sender:?}");
            if on {
                assert!(sender.text().contains("5.7.27"), "{sender:?}");
            }
            wire.command("RSET").await.demand(250);
            wire.command("MAIL FROM:<a@org.test>").await.demand(250);
            for (to, code, status) in [
                ("b@null.test", 556, "5.1.10"),
                ("b@nowhere.test", 550, "5.1.2"),
            ] {
                let got = wire.command(&format!("RCPT TO:<{to}>")).await;
                assert_eq!(got.code, if on { code } else { 250 }, "{to}: {got:?}");
                assert!(!on || got.text().contains(status), "{to}: {got:?}");
            }
            wire.command("RCPT TO:<b@enf.test>").await.demand(250);
            if on {
                wire.command("DATA").await.demand(354);
                wire.write(b"Subject: x\r\n\r\n.\r\n").await;
                let id = wire.reply().await.demand(250).queue_id();
                let event = relay.wait_for("delivery.deferred", &id, SOON).await;
                assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
            }
        }
        mx.assert_no_mail();
    }

    async fn h5_11_a_client_that_vanishes_before_our_250_leaves_its_message() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = Relay::start(net.config()).await;
        // Often enough that the reply meets a connection that is gone: later and later, since what was
        // not read yet goes with the connection.
        for n in 0..2000 {
            let mut client = hello("127.0.0.1", RELAY).await;
            for command in ["MAIL FROM:<a@org.test>\r\n", "RCPT TO:<b@d.test>\r\n", "DATA\r\n"] {
                told(&mut client, command).await;
            }
            client.write_all(b"Message-ID: <vanish@org.test>\r\n\r\nx\r\n.\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_micros(n % 50 * 100)).await;
            // A reset, not a goodbye.
            client.set_zero_linger().unwrap();
            drop(client);
            let lost = relay.events().into_iter().find(|e| e.is("smtp.in.reply-lost"));
            if let Some(event) = lost {
                relay.wait_for("delivery.sent", event.text("queue_id"), SOON).await;
                assert_eq!(event.text("message_id_sha256").len(), 64, "{event}");
                assert!(mx.messages().iter().any(|m| String::from_utf8_lossy(&m.data).contains("vanish@org.test")));
                return;
            }
        }
        panic!("no reply was lost: {:?}", relay.events());
    }
}

/// A listener `tls` at [`TLS_LISTENER`] that requires TLS.
fn with_tls(config: RelayConfig, crt: &Path, key: &Path, more: &str) -> RelayConfig {
    config.append(&format!(
        "[[listener]]\nname = \"tls\"\naddress = [\"{TLS_LISTENER}\"]\ntls = \"required\"\n\
         certificate = \"{}\"\nprivate-key = \"{}\"\n{more}",
        crt.display(),
        key.display(),
    ))
}

/// Puts a certificate for `name` that ends in so many days, and its key.
fn install(ca: &TestCa, name: &str, days: u32, crt: &Path, key: &Path) {
    let leaf = ca.cert(&[name]).days(days).issue();
    std::fs::copy(&leaf.cert_path, crt).unwrap();
    std::fs::copy(&leaf.key_path, key).unwrap();
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
}

pub(crate) async fn connect(from: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to.parse().unwrap()).await.unwrap()
}

/// Connected from this address, after EHLO.
pub(crate) async fn hello(from: &str, to: &str) -> TcpStream {
    let mut stream = connect(from, to).await;
    assert!(reply(&mut stream).await.starts_with("220 "));
    assert!(
        told(&mut stream, "EHLO c.test\r\n")
            .await
            .starts_with("250-")
    );
    stream
}

pub(crate) async fn told(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    reply(stream).await
}

/// One reply, all of its lines.
pub(crate) async fn reply(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        loop {
            let line = text.rsplit_terminator('\n').next().unwrap_or_default();
            if text.ends_with('\n') && line.as_bytes().get(3) == Some(&b' ') {
                return;
            }
            match stream.read_u8().await {
                Ok(octet) => text.push(char::from(octet)),
                Err(e) => panic!("{e} after {text:?}"),
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("a reply");
    text
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut text))
        .await
        .expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

const RELAY: &str = "127.0.0.1:2525";
