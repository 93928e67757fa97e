use std::sync::Arc;
use std::time::Duration;

use smtp_server::TlsMode;
use tokio::net::TcpStream;

use crate::support::{server_settings, session_settings, start, start_plain};
use crate::tls::keys;

#[tokio::test]
async fn e4_13_idle_sessions_get_421_and_messages_finish() {
    let mut server = start_plain();
    let mut idle = server.client().await;
    let mut between = server.client().await;
    between.send("EHLO c\r\nMAIL FROM:<>\r\n").await;
    between.reply().await;
    between.reply().await;
    let mut busy = server.client().await;
    busy.start_data().await;
    server.stop();
    assert!(idle.rest().await.starts_with("421 4.3.2 "));
    assert!(between.rest().await.starts_with("421 4.3.2 "));
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "the port is closed"
    );
    assert!(!server.task.is_finished());
    busy.send("\r\n.\r\nMAIL FROM:<>\r\n").await;
    let rest = busy.rest().await;
    let (done, bye) = rest.split_once("\r\n").unwrap();
    assert!(done.starts_with("250 2.0.0 Ok: queued as "), "{rest}");
    assert!(
        bye.starts_with("421 4.3.2 ") && bye.matches("\r\n").count() == 1,
        "{rest}"
    );
    server.ended().await;
    assert_eq!(server.messages.lock().len(), 1);
}

#[tokio::test]
async fn e4_13_a_message_that_does_not_finish_gets_421() {
    let mut settings = server_settings(session_settings(), None);
    settings.drain = Duration::from_millis(100);
    let mut server = start(settings);
    let mut busy = server.client().await;
    busy.start_data().await;
    server.stop();
    assert!(busy.rest().await.starts_with("421 4.3.2 "));
    server.ended().await;
    assert!(server.messages.lock().is_empty());
}

#[tokio::test]
async fn e4_13_a_handshake_that_does_not_come_holds_up_nothing() {
    for mode in [TlsMode::Implicit, TlsMode::Required] {
        let mut session = session_settings();
        session.tls = mode;
        let mut settings = server_settings(session, Some(Arc::clone(&keys().tls)));
        settings.drain = Duration::from_secs(3600);
        let mut server = start(settings);
        let mut client = match mode {
            TlsMode::Implicit => server.silent_client().await,
            _ => server.client().await,
        };
        if mode == TlsMode::Required {
            client.told("EHLO c").await;
            assert!(client.told("STARTTLS").await.starts_with("220 "));
        }
        server.event("connected").await;
        server.stop();
        assert_eq!(client.rest().await, "", "{mode:?}");
        server.ended().await;
    }
}

#[tokio::test]
async fn a_commit_under_way_is_answered() {
    let mut server = start_plain();
    server.may_commit.forget_permits(1000);
    let mut client = server.client().await;
    client.start_data().await;
    client.send("\r\n.\r\n").await;
    server.stop();
    server.may_commit.add_permits(1);
    let rest = client.rest().await;
    assert!(
        rest.starts_with("250 2.0.0 ") && rest.contains("\r\n421 "),
        "{rest}"
    );
    server.ended().await;
}
