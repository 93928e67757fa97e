//! Who speaks for another client: PROXY headers and XCLIENT.

use smtp_server::{Access, Limits, TlsMode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Client, Running, server_settings, session_settings, start};

/// Loopback speaks for others; 192.0.2.0/24 relays, loopback itself too.
fn trusting(proxy: bool, xclient: bool) -> Running {
    let settings = server_settings(session_settings(), None);
    let nets = |list: &[&str]| -> Vec<_> { list.iter().map(|n| n.parse().unwrap()).collect() };
    let loopback = nets(&["127.0.0.0/8"]);
    let relay = nets(&["192.0.2.0/24", "127.0.0.0/8"]);
    let none = Vec::new();
    let access = Access::new(&relay, &[], &[]).impersonated_by(
        if xclient { &loopback } else { &none },
        if proxy { &loopback } else { &none },
    );
    settings.access.store(std::sync::Arc::new(access));
    start(settings)
}

async fn may_relay(client: &mut Client<TcpStream>) -> bool {
    let ehlo = client.told("EHLO c.test").await;
    assert!(ehlo.starts_with("250-"), "{ehlo}");
    let mail = client.told("MAIL FROM:<a@b.test>").await;
    assert!(mail.starts_with("250 "), "{mail}");
    let rcpt = client.told("RCPT TO:<c@d.test>").await;
    assert!(
        rcpt.starts_with("250 ") || rcpt.starts_with("550 5.7.1 "),
        "{rcpt}"
    );
    rcpt.starts_with("250 ")
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

#[tokio::test]
async fn g3_05_a_listed_proxy_says_who_is_there() {
    let mut server = trusting(true, false);
    let mapped = {
        let mut body = [0; 36];
        body[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        v2(0x21, 0x21, &body)
    };
    let four = |last| {
        v2(
            0x21,
            0x11,
            &[198, 51, 100, last, 127, 0, 0, 1, 1, 1, 0, 25, 4, 0, 1, 0],
        )
    };
    for (header, relays) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\n".to_vec(), true),
        (
            b"PROXY TCP4 198.51.100.1 127.0.0.1 4000 25\r\n".to_vec(),
            false,
        ),
        (mapped, true),
        (four(9), false),
        // Nobody in particular has no rights, though the proxy's own address relays.
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
        (v2(0x20, 0x00, &[]), false),
    ] {
        let mut client = server.silent_client().await;
        client.0.write_all(&header).await.unwrap();
        assert!(client.reply().await.starts_with("220 "));
        assert_eq!(
            may_relay(&mut client).await,
            relays,
            "{}",
            header.escape_ascii()
        );
    }
    let broken = "breaks the protocol: \"PROXY TCP4 192.0.2.1";
    for (bad, told) in [
        (&b"EHLO c.test\r\n"[..], "\"EHLO c.test\\r\\n\" came instead"),
        (b"PROXY TCP4 192.0.2.1\r\n", broken),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25 and so on for more than a header may have before it ends \
          and no end yet\r\n", broken),
    ] {
        let mut client = server.silent_client().await;
        client.0.write_all(bad).await.unwrap();
        assert_eq!(client.rest().await, "", "{}", bad.escape_ascii());
        let event = server.event("proxy-refused").await;
        assert!(event.contains(told), "{event}");
    }
}

#[tokio::test]
async fn h5_08_a_header_from_a_stranger_is_dropped() {
    let mut server = trusting(false, false);
    let second = v2(0x21, 0x11, &[192, 0, 2, 1, 127, 0, 0, 1, 1, 1, 0, 25]);
    for header in [
        &b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\nEHLO c.test\r\n"[..],
        &second,
    ] {
        let mut client = server.silent_client().await;
        assert!(client.reply().await.starts_with("220 "));
        client.0.write_all(header).await.unwrap();
        assert_eq!(client.rest().await, "");
        assert_eq!(server.event("incident").await, "incident proxy_untrusted");
    }
    let mut session = session_settings();
    session.tls = TlsMode::Implicit;
    let made = rcgen::generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&crt, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = smtp_server::ServerTls::load(&smtp_server::TlsFiles::new(crt, key)).unwrap();
    let mut server = start(server_settings(session, Some(std::sync::Arc::new(tls))));
    let mut client = server.silent_client().await;
    client.0.write_all(&second).await.unwrap();
    assert_eq!(client.rest().await, "");
    assert_eq!(server.event("incident").await, "incident proxy_untrusted");
}

#[tokio::test]
async fn g5_07_clients_behind_a_proxy_are_counted_by_their_own_address() {
    let mut settings = server_settings(session_settings(), None);
    let loopback = ["127.0.0.0/8".parse().unwrap()];
    let access = Access::new(&[], &[], &[]).impersonated_by(&[], &loopback);
    settings.access.store(std::sync::Arc::new(access));
    settings.limits = Limits {
        connections_per_address: 1,
        ..Limits::default()
    };
    let mut server = start(settings);
    let open = async |last: u8| {
        let mut client = server.silent_client().await;
        let header = format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 4000 25\r\n");
        client.send(&header).await;
        client
    };
    let (mut one, mut two, mut again) = (open(1).await, open(2).await, open(1).await);
    let replies = [one.reply().await, two.reply().await];
    assert!(replies.iter().all(|r| r.starts_with("220 ")), "{replies:?}");
    assert!(again.rest().await.starts_with("421 4.7.0 "));
    let event = server.event("turned-away").await;
    assert_eq!(event, "turned-away connections-per-client");
}

#[tokio::test]
async fn g5_06_xclient_makes_the_session_another_clients() {
    let server = trusting(false, true);
    let mut client = server.client().await;
    let ehlo = client.told("EHLO proxy.test").await;
    assert!(
        ehlo.contains("XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"),
        "{ehlo}"
    );
    let greeting = client.told("XCLIENT ADDR=198.51.100.9 NAME=x.test").await;
    assert!(greeting.starts_with("220 relay.test "), "{greeting}");
    let early = client.told("MAIL FROM:<a@b.test>").await;
    assert!(early.starts_with("503 "), "the session began anew: {early}");
    assert!(!may_relay(&mut client).await);
    assert!(
        client
            .told("XCLIENT ADDR=192.0.2.1")
            .await
            .starts_with("503 "),
        "in a transaction"
    );
    client.told("RSET").await;
    for (command, code) in [
        ("XCLIENT ADDR=relay.test", "501 5.5.4 "),
        ("XCLIENT IDENT=1", "501 5.5.4 "),
        ("XCLIENT", "501 5.5.4 "),
    ] {
        let reply = client.told(command).await;
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    let greeting = client.told("XCLIENT ADDR=192.0.2.1").await;
    assert!(
        greeting.starts_with("220 "),
        "the right to say it stays: {greeting}"
    );
    assert!(may_relay(&mut client).await);
    client.told("RSET").await;
    assert!(
        client
            .told("XCLIENT ADDR=[UNAVAILABLE]")
            .await
            .starts_with("220 ")
    );
    assert!(!may_relay(&mut client).await, "nobody has no rights");
}

#[tokio::test]
async fn g5_06_xclient_says_how_the_client_greeted() {
    let mut server = trusting(false, true);
    let mut client = server.client().await;
    client.told("EHLO proxy.test").await;
    let claim = "XCLIENT ADDR=192.0.2.1 PORT=4000 PROTO=ESMTP HELO=app.test";
    assert!(client.told(claim).await.starts_with("220 "));
    client
        .send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        .await;
    for want in ["250", "250", "354"] {
        assert!(client.reply().await.starts_with(want));
    }
    client.send("\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("250 "));
    {
        let messages = server.messages.lock();
        let (envelope, body) = &messages[0];
        assert_eq!(&*envelope.arrival.helo, "app.test");
        let from = "Received: from app.test ([192.0.2.1])";
        assert!(
            body.starts_with(from) && body.contains("with ESMTP id"),
            "{body}"
        );
    }
    drop(client);
    let ended = server.event("disconnected").await;
    assert_eq!(ended, "disconnected 1 192.0.2.1");
}

#[tokio::test]
async fn g5_06_xclient_is_not_for_strangers() {
    let mut server = trusting(false, false);
    let mut client = server.client().await;
    assert!(!client.told("EHLO c.test").await.contains("XCLIENT"));
    let reply = client.told("XCLIENT ADDR=192.0.2.1").await;
    assert!(reply.starts_with("550 5.7.0 "), "{reply}");
    assert_eq!(server.event("incident").await, "incident xclient_denied");
}
