use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use smtp_server::{Access, BindError, Server};

use crate::support::{server_settings, session_settings, start_plain};

#[tokio::test]
async fn a_message_comes_in() {
    let mut server = start_plain();
    let mut client = server.client().await;
    client.start_data().await;
    client.send("Subject: x\r\n\r\n..dot\r\n.\r\n").await;
    assert_eq!(
        client.reply().await,
        "250 2.0.0 Ok: queued as 000000000001\r\n"
    );
    assert_eq!(
        server.event("received").await,
        "received 000000000001 a@b.test 1"
    );
    assert_eq!(client.told("QUIT").await, "221 2.0.0 Bye\r\n");
    assert_eq!(client.rest().await, "");
    drop(client);
    assert_eq!(server.event("disconnected").await, "disconnected 1");
    let messages = server.messages.lock();
    let (envelope, body) = &messages[0];
    assert_eq!(
        body,
        "Received: from c.test ([127.0.0.1])\r\n\tby relay.test with ESMTP id 000000000001\r\n\
         \tfor <c@d.test>;\r\n\tSun, 01 Mar 2026 12:00:00 +0000\r\nSubject: x\r\n\r\n.dot\r\n"
    );
    assert_eq!(envelope.size, body.len() as u64);
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(envelope.arrival.client, Some(local));
}

#[tokio::test]
async fn e4_22_one_batch_with_everything() {
    let server = start_plain();
    let mut client = server.client().await;
    let body = format!("{}\r\n", "x".repeat(998)).repeat(100);
    client
        .send(&format!(
            "EHLO c\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<null-mx@d.test>\r\n\
             BDAT 100000\r\n{body}BDAT 2 LAST\r\n\r\nMAIL FROM:<> SIZE=999\r\nQUIT\r\n"
        ))
        .await;
    let rest = client.rest().await;
    let codes: Vec<_> = rest
        .lines()
        .filter(|l| &l[3..4] == " ")
        .map(|l| &l[..9])
        .collect();
    assert_eq!(
        codes,
        [
            "250 CHUNK",
            "250 2.1.0",
            "250 2.1.5",
            "556 5.1.1",
            "250 2.0.0",
            "250 2.0.0",
            "452 4.3.1",
            "221 2.0.0"
        ]
    );
    assert!(
        server.messages.lock()[0]
            .1
            .ends_with(&format!("\r\n{body}\r\n"))
    );
}

#[tokio::test]
async fn e4_14_no_250_before_the_commit() {
    let mut server = start_plain();
    server.may_commit.forget_permits(1000);
    let mut client = server.client().await;
    client.start_data().await;
    client.send("\r\n.\r\n").await;
    let mut other = server.client().await;
    assert!(
        other.told("NOOP").await.starts_with("250"),
        "others go on meanwhile"
    );
    let mut octet = [0];
    assert_eq!(
        client.0.try_read(&mut octet).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    server.may_commit.add_permits(1);
    assert!(client.reply().await.starts_with("250 2.0.0 Ok: queued as "));
    server.event("received").await;
}

#[tokio::test]
async fn e4_17_a_failed_commit_is_told() {
    let mut server = start_plain();
    server.may_commit.close();
    let mut client = server.client().await;
    client.start_data().await;
    client.send("\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("451 4.3.0 "));
    assert_eq!(server.event("refused").await, "refused content queue");
    assert!(
        client.told("MAIL FROM:<>").await.starts_with("250 "),
        "the session goes on"
    );
    assert!(server.messages.lock().is_empty());
}

#[tokio::test]
async fn g3_02_access_is_replaced_while_running() {
    let mut server = start_plain();
    server.access.store(Arc::new(Access::default()));
    let mut client = server.client().await;
    client.send("EHLO c\r\nMAIL FROM:<>\r\n").await;
    client.reply().await;
    client.reply().await;
    let got = client.told("RCPT TO:<a@b.test>").await;
    assert_eq!(
        got,
        "550 5.7.1 Relay access denied: [127.0.0.1] may not send mail through here\r\n"
    );
    assert_eq!(server.event("refused").await, "refused rcpt relay-denied");
    assert!(client.told("RSET").await.starts_with("250"));
}

#[tokio::test]
async fn e3_06_the_client_hears_550_though_it_goes_on_sending() {
    let mut server = start_plain();
    let mut client = server.client().await;
    client.start_data().await;
    let mut text = String::from("bare\nnewline\r\n");
    for _ in 0..20_000 {
        text += "much more content behind it, more than any buffer holds\r\n";
    }
    text += ".\r\nMAIL FROM:<x@y.test>\r\n";
    client.send(&text).await;
    let rest = client.rest().await;
    assert!(
        rest.starts_with("550 5.5.2 ") && rest.matches("\r\n").count() == 1,
        "{rest}"
    );
    assert_eq!(server.event("incident").await, "incident bare_newline");
    assert!(server.messages.lock().is_empty());
}

#[tokio::test]
async fn a_panic_ends_one_session() {
    let mut server = start_plain();
    let mut client = server.client().await;
    client
        .send("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<panic@d.test>\r\n")
        .await;
    client.rest().await;
    assert_eq!(
        server.event("disconnected").await,
        "disconnected 0",
        "even so"
    );
    assert_eq!(server.event("panicked").await, "panicked main");
    assert!(server.client().await.told("NOOP").await.starts_with("250"));
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing() {
    let mut server = start_plain();
    let mut client = server.client().await;
    client.start_data().await;
    client.send("half a mess").await;
    drop(client);
    assert_eq!(server.event("disconnected").await, "disconnected 0");
    assert!(server.messages.lock().is_empty());
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_error() {
    let server = start_plain();
    let mut settings = server_settings(session_settings(), None);
    settings.listeners[0].addresses = vec![server.address];
    let error = Server::bind(settings).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains("\"main\"") && text.contains(&server.address.to_string()),
        "{text}"
    );
    let mut settings = server_settings(session_settings(), None);
    settings.listeners[0].addresses = vec!["192.0.2.1:0".parse().unwrap()];
    assert!(matches!(
        Server::bind(settings),
        Err(BindError::NotLocal { .. })
    ));
}

#[tokio::test]
async fn g5_06_xforward_from_a_listed_host() {
    let mut server = start_plain();
    let mut stranger = server.client().await;
    assert!(!stranger.told("EHLO c").await.contains("XFORWARD"));
    assert!(
        stranger
            .told("XFORWARD IDENT=x")
            .await
            .starts_with("550 5.7.0 ")
    );
    let local = ["127.0.0.0/8".parse().unwrap()];
    server
        .access
        .store(Arc::new(Access::new(&local, &local, &[])));
    let mut front = server.client().await;
    assert!(front.told("EHLO c").await.contains("XFORWARD NAME ADDR "));
    front
        .send(
            "XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.9 IDENT=4Rabc\r\nMAIL FROM:<>\r\n\
             RCPT TO:<a@b.test>\r\nBDAT 2 LAST\r\n\r\n",
        )
        .await;
    for _ in 0..4 {
        assert!(front.reply().await.starts_with("250 "));
    }
    server.event("received").await;
    let messages = server.messages.lock();
    assert_eq!(messages[0].0.arrival.upstream_id.as_deref(), Some("4Rabc"));
}
