use smtp_server::{Limits, Server};
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
    assert_eq!(server.event("turned-away").await, "turned-away true");
    let mut other = from(&server, "127.0.0.2:0").await;
    assert!(
        other.reply().await.starts_with("220 "),
        "other addresses are served"
    );
    let mut fifth = from(&server, "127.0.0.3:0").await;
    assert!(fifth.rest().await.starts_with("421 4.7.0 "));
    assert_eq!(server.event("turned-away").await, "turned-away false");
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
