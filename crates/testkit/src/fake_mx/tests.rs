use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Action, Banner, Extensions, FakeMx, Rule, StartTls};
use crate::TestCa;

const SOON: Duration = Duration::from_secs(10);

async fn connect(mx: &FakeMx) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(mx.address()).await.unwrap())
}

/// Sends, and returns as many replies as were asked for, or what there is before the end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    send: &str,
    replies: usize,
) -> String {
    use tokio::io::AsyncBufReadExt;
    stream.write_all(send.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut text = String::new();
    let mut done = 0;
    while done < replies {
        let start = text.len();
        if stream.read_line(&mut text).await.unwrap_or(0) == 0 {
            break;
        }
        done += usize::from(text.as_bytes().get(start + 3) == Some(&b' '));
    }
    text
}

const SEND: &str =
    "EHLO c.test\r\nMAIL FROM:<a@c.test> BODY=8BITMIME\r\nRCPT TO:<b@d.test>\r\nDATA\r\n";

#[tokio::test]
async fn a_correct_server_keeps_messages_octet_for_octet() {
    let mx = FakeMx::start("127.0.0.1:0", "mx.test", None).await;
    let mut c = connect(&mx).await;
    let replies = talk(&mut c, SEND, 5).await;
    assert!(replies.starts_with("220 mx.test ESMTP"), "{replies}");
    assert!(replies.contains("250-8BITMIME\r\n") && !replies.contains("STARTTLS"));
    assert!(replies.ends_with("354 end with a dot\r\n"), "{replies}");
    let done = talk(&mut c, "..x\r\n\r\na\0\u{e9}\n.\n..\r\n.\r\n", 1).await;
    assert_eq!(done, "250 2.0.0 kept\r\n");
    let bdat = "MAIL FROM:<>\r\nRCPT TO:<\"x> y\"@d.test> NOTIFY=NEVER\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\nQUIT\r\n";
    let done = talk(&mut c, bdat, 5).await;
    assert!(done.ends_with("221 2.0.0 bye\r\n"), "{done}");

    let messages = mx.wait_for_messages(2, SOON).await;
    assert_eq!(messages[0].data, b".x\r\n\r\na\0\xc3\xa9\n.\n..\r\n");
    assert_eq!(messages[0].recipients(), ["b@d.test"]);
    assert_eq!(messages[0].from_params, "BODY=8BITMIME");
    assert_eq!((&*messages[1].from, messages[1].chunked), ("", true));
    let params = "NOTIFY=NEVER".to_owned();
    assert_eq!(messages[1].to, [("\"x> y\"@d.test".into(), params)]);
    assert_eq!(messages[1].data, b".\r\n");
    let sessions = mx.wait_for_sessions(1, SOON).await;
    assert!(sessions[0].quit && mx.most_open() == 1);
    assert_eq!(mx.commands().len(), 9, "{:?}", mx.commands());
}

#[tokio::test]
async fn starttls_works_and_fails_as_told() {
    let ca = TestCa::new();
    let leaf = ca.leaf(&["mx.test"]);
    let mx = FakeMx::start("127.0.0.1:0", "mx.test", Some(&leaf)).await;
    let hello = "EHLO c.test\r\n";
    let tls = async || {
        let mut c = connect(&mx).await;
        let said = talk(&mut c, hello, 2).await;
        assert!(said.contains("STARTTLS"), "{said}");
        talk(&mut c, "STARTTLS\r\n", 1).await;
        let name = ServerName::try_from("mx.test").unwrap();
        let connector = TlsConnector::from(ca.client_config());
        connector.connect(name, c.into_inner()).await
    };
    let mut c = BufReader::new(tls().await.unwrap());
    let said = talk(&mut c, SEND, 4).await;
    assert!(!said.contains("STARTTLS"), "{said}");
    talk(&mut c, "x\r\n.\r\n", 1).await;
    drop(c);
    let message = mx.wait_for_message(SOON).await;
    let seen = message.tls.unwrap();
    assert_eq!(seen.sni.as_deref(), Some("mx.test"));
    assert_eq!(seen.version, "TLSv1_3");
    mx.assert_no_mail_in_clear();

    for fault in [StartTls::ResetInHandshake, StartTls::Garbage] {
        mx.script(|s| s.starttls = fault.clone());
        assert!(tls().await.is_err(), "{fault:?}");
    }
    mx.script(|s| s.starttls = StartTls::Inject(b"250 2.0.0 injected\r\n".to_vec()));
    let mut c = connect(&mx).await;
    let said = talk(&mut c, "EHLO c.test\r\nSTARTTLS\r\n", 4).await;
    assert!(said.ends_with("250 2.0.0 injected\r\n"), "{said}");
    drop(c);
    mx.script(|s| s.starttls = StartTls::Refuse("454 4.7.0 later".into()));
    let mut c = connect(&mx).await;
    let said = talk(&mut c, "EHLO c.test\r\nSTARTTLS\r\n", 3).await;
    assert!(said.ends_with("454 4.7.0 later\r\n"), "{said}");
    drop(c);

    // What is sent in clear behind STARTTLS is seen, and not obeyed.
    mx.behave();
    let mut c = connect(&mx).await;
    talk(&mut c, "EHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<>\r\n", 3).await;
    drop(c);
    let sessions = mx.wait_for_sessions(6, SOON).await;
    let last = sessions.last().unwrap();
    assert_eq!(last.plain_after_starttls, b"MAIL FROM:<>\r\n");
    assert!(last.handshake_error.is_some());
    mx.assert_no_mail_in_clear();
}

#[tokio::test]
async fn rules_come_in_order_and_are_counted() {
    let mx = FakeMx::start("127.0.0.1:0", "mx.test", None).await;
    mx.script(|s| s.extensions = Extensions::none())
        .rule(Rule::once(
            "RCPT",
            Action::Reply("450 4.2.0 not now".into()),
        ))
        .rule(Rule::always("RCPT", Action::Reply("550 5.1.1 no".into())).about("bob@"))
        .rule(Rule::once(".", Action::AcceptThenClose));
    let mut c = connect(&mx).await;
    let said = talk(&mut c, SEND, 5).await;
    assert!(
        said.contains("\r\n450 4.2.0 not now\r\n503 5.5.1"),
        "{said}"
    );
    let said = talk(
        &mut c,
        "RCPT TO:<bob@d.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n",
        3,
    )
    .await;
    assert!(said.starts_with("550 5.1.1 no\r\n250"), "{said}");
    assert_eq!(talk(&mut c, "x\r\n.\r\n", 1).await, "");
    assert_eq!(mx.wait_for_message(SOON).await.recipients(), ["b@d.test"]);

    mx.behave()
        .rule(Rule::always("BODY", Action::Close))
        .script(|s| {
            s.greylist = true;
            s.max_recipients = Some(1);
        });
    let mut c = connect(&mx).await;
    let rcpt = "RCPT TO:<b@d.test>\r\n";
    let said = talk(&mut c, SEND, 5).await;
    assert!(said.contains("\r\n451 4.7.1"), "{said}");
    let said = talk(&mut c, &format!("{rcpt}RCPT TO:<e@d.test>\r\nDATA\r\n"), 3).await;
    assert!(said.starts_with("250 2.1.5 ok\r\n452 4.5.3"), "{said}");
    assert_eq!(talk(&mut c, "x\r\n.\r\n", 1).await, "");
    assert_eq!(mx.messages().len(), 1);
}

#[tokio::test]
async fn banners_and_refused_connections() {
    let mx = FakeMx::start("127.0.0.1:0", "mx.test", None).await;
    for (banner, want) in [
        (Banner::Reply("554 5.3.2 no".into()), "554 5.3.2 no\r\n"),
        (Banner::Close, ""),
    ] {
        mx.script(|s| s.banner = banner);
        let mut c = connect(&mx).await;
        let mut text = String::new();
        c.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, want);
    }
    mx.script(|s| s.banner = Banner::Silence);
    let mut c = connect(&mx).await;
    talk(&mut c, "EHLO impatient\r\n", 0).await;
    mx.pause().await;
    assert!(TcpStream::connect(mx.address()).await.is_err());
    mx.behave().resume().await;
    let mut c = connect(&mx).await;
    assert!(talk(&mut c, "QUIT\r\n", 2).await.contains("221"));
    mx.assert_no_mail();
}

#[test]
fn trace_fields_are_told_from_the_message() {
    let message = super::ReceivedMessage {
        session: 0,
        helo: String::new(),
        from: String::new(),
        from_params: String::new(),
        to: vec![],
        data: b"Received: a\r\n\tb\r\nreturn-path: <>\r\nSubject: x\r\n y\r\n\r\nReceived: z"
            .into(),
        chunked: false,
        tls: None,
        peer: "127.0.0.1:1".parse().unwrap(),
        at: std::time::Instant::now(),
    };
    assert_eq!(
        message.without_trace(),
        b"Subject: x\r\n y\r\n\r\nReceived: z"
    );
}
