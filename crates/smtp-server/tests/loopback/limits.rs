use smtp_server::{ConnectionRate, Limits, Server};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Client, Running, run, server_settings, session_settings, start};

async fn from(server: &Running, address: &str) -> Client<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    Client(socket.connect(server.address).await.unwrap())
}

#[tokio::test]
async fn g5_07_too_many_from_one_address() {
    let mut settings = server_settings(session_settings(), None);
    settings.limits = Limits {
        connections: 3,
        connections_per_address: 2,
        ..Limits::default()
    };
    let mut server = start(settings);
    let first = server.client().await;
    let _second = server.client().await;
    let mut third = server.silent_client().await;
    let got = third.rest().await;
    assert!(
        got.starts_with("421 4.7.0 ") && got.ends_with("\r\n"),
        "{got}"
    );
    assert_eq!(
        server.event("turned-away").await,
        "turned-away connections-per-client"
    );
    let mut other = from(&server, "127.0.0.2:0").await;
    assert!(
        other.reply().await.starts_with("220 "),
        "other addresses are served"
    );
    let mut fifth = from(&server, "127.0.0.3:0").await;
    assert!(fifth.rest().await.starts_with("421 4.7.0 "));
    assert_eq!(server.event("turned-away").await, "turned-away connections");
    drop(first);
    server.event("disconnected").await;
    let mut again = from(&server, "127.0.0.3:0").await;
    assert!(again.reply().await.starts_with("220 "));
}

#[tokio::test]
async fn e4_23_early_talkers_are_noticed_and_may_be_refused() {
    for refuse in [false, true] {
        let mut session = session_settings();
        session.refuse_early_talkers = refuse;
        let settings = server_settings(session, None);
        let access = std::sync::Arc::clone(&settings.access);
        let server = Server::bind(settings).unwrap();
        let (_, address) = server.addresses().next().unwrap();
        // The system takes connection and octets before anybody accepts.
        let mut early = Client(TcpStream::connect(address).await.unwrap());
        early.send("EHLO c.test\r\n").await;
        let mut server = run(server, access);
        let want = if refuse {
            "554 relay.test "
        } else {
            "220 relay.test "
        };
        let got = early.reply().await;
        assert!(got.starts_with(want), "{got}");
        assert_eq!(server.event("incident").await, "incident early_talker");
    }
}

#[tokio::test]
async fn g5_07_new_connections_have_a_rate_for_each_address() {
    let mut settings = server_settings(session_settings(), None);
    settings.limits.connection_rate = Some(ConnectionRate {
        count: 2,
        period: std::time::Duration::from_secs(3600),
    });
    let mut server = start(settings);
    for _ in 0..2 {
        let mut client = server.client().await;
        client.told("QUIT").await;
    }
    let got = server.silent_client().await.rest().await;
    assert!(got.starts_with("421 4.7.0 "), "{got}");
    let seconds = got.split_once("try again in ").unwrap().1;
    let seconds = seconds.strip_suffix(" seconds\r\n").unwrap();
    assert!((3500..=3600).contains(&seconds.parse().unwrap()), "{got}");
    let event = server.event("turned-away").await;
    assert_eq!(event, "turned-away connection-rate-per-client");
    let mut other = from(&server, "127.0.0.2:0").await;
    assert!(other.reply().await.starts_with("220 "));
}

#[tokio::test]
async fn a_connection_brings_so_many_messages() {
    let mut session = session_settings();
    session.max_messages = 2;
    let mut server = start(server_settings(session, None));
    let mut client = server.client().await;
    for _ in 0..2 {
        client.start_data().await;
        client.send("\r\n.\r\n").await;
        assert!(client.reply().await.starts_with("250 2.0.0 Ok: queued as "));
    }
    client.told("EHLO c.test").await;
    client
        .send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
        .await;
    let rest = client.rest().await;
    assert!(
        rest.starts_with("421 4.7.0 2 messages in one connection"),
        "{rest}"
    );
    assert_eq!(rest.matches("\r\n").count(), 1, "{rest}");
    assert_eq!(server.event("incident").await, "incident too_many_messages");
    let mut again = server.client().await;
    again.start_data().await;
}

#[tokio::test]
async fn content_has_a_cap_in_memory_and_what_is_there_stays() {
    let mut settings = server_settings(session_settings(), None);
    // Room for two messages on their way in.
    settings.limits.content_memory = 2 * (64 << 10);
    let access = std::sync::Arc::clone(&settings.access);
    let server = Server::bind(settings).unwrap();
    let memory = server.content_memory();
    let server = run(server, access);
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.start_data().await;
    two.start_data().await;
    assert_eq!(memory.used(), 2 * (64 << 10));
    let mut three = server.client().await;
    three
        .send("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        .await;
    for want in ["250-", "250 ", "250 ", "452 4.3.2 "] {
        let got = three.reply().await;
        assert!(got.starts_with(want), "{got}");
    }
    one.send("\r\n.\r\n").await;
    assert!(one.reply().await.starts_with("250 "), "what is there stays");
    // There is room again.
    three.start_data().await;
    three.send("\r\n.\r\n").await;
    assert!(three.reply().await.starts_with("250 "));
    drop(two);
    one.told("QUIT").await;
    three.told("QUIT").await;
    assert_eq!(one.rest().await, "");
}
