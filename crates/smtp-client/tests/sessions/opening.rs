//! From the banner to the EHLO that counts: what goes wrong before anything is sent.

use std::time::Duration;

use mail_types::HostName;
use smtp_client::{
    Cause, Connection, Connector, Peer, Posture, ProtocolFault, SessionError, Stage, StartTls,
};

use crate::ca::Ca;
use crate::peer::{Heard, Scripted, Step, ehlo, greet, hear, say, secure};
use crate::{MX, config, connector, peer_of, roots};

const ALL: [Posture; 4] = [
    Posture::Authenticate,
    Posture::DangerousEncrypt,
    Posture::DangerousOpportunistic,
    Posture::DangerousPlain,
];
const NEED_TLS: [Posture; 2] = [Posture::Authenticate, Posture::DangerousEncrypt];

fn refused(result: Result<Connection, SessionError>) -> SessionError {
    match result {
        Ok(_) => panic!("the session must not open"),
        Err(error) => error,
    }
}

/// Connects, expects failure, returns it with what the peer heard. No time limit is reached on the way.
async fn fail(script: Vec<Step>, posture: Posture) -> (SessionError, Heard) {
    fail_within(script, posture, Duration::from_secs(60)).await
}

async fn fail_within(
    script: Vec<Step>,
    posture: Posture,
    limit: Duration,
) -> (SessionError, Heard) {
    let mut config = config();
    config.timeouts.banner = limit;
    config.timeouts.ehlo = limit;
    let connector = Connector::new(config, roots(&Ca::new("Root")));
    let scripted = Scripted::start(script);
    let error = refused(connector.connect_with(&peer_of(&scripted), posture).await);
    (error, scripted.heard().await)
}

fn with_starttls(reply: &str) -> Vec<Step> {
    let mut script = greet(&["STARTTLS", "PIPELINING"]);
    script.extend([hear("STARTTLS"), say(reply)]);
    script
}

/// It is no host's fault, whichever it is.
#[tokio::test]
async fn h9_08_a_source_address_that_is_not_ours_is_told_as_our_configuration() {
    let mut config = config();
    config.sources = vec!["192.0.2.1".parse().unwrap()];
    let connector = Connector::new(config, roots(&Ca::new("Root")));
    let scripted = Scripted::start(greet(&[]));
    let peer = peer_of(&scripted);
    let connected = connector.connect_with(&peer, Posture::DangerousPlain);
    let error = refused(connected.await);
    assert_eq!(error.cause.reason().key(), "local");
    assert_eq!(
        error.cause.to_string(),
        "the source address 192.0.2.1 of egress.source-addresses is not an address of this machine"
    );
}

#[tokio::test]
async fn h3_01_h3_02_no_starttls() {
    for posture in NEED_TLS {
        for keywords in [&["PIPELINING"][..], &["XXXXXXXX", "PIPELINING"]] {
            let (error, heard) = fail(greet(keywords), posture).await;
            assert_eq!(error.cause.reason().key(), "starttls-not-offered");
            assert!(error.to_string().contains(keywords[0]), "{error}");
            assert_eq!(heard.lines, ["EHLO us.test", "QUIT"], "row A6-03");
        }
    }
}

#[tokio::test]
async fn h3_03_starttls_refused() {
    for posture in NEED_TLS {
        // RFC 3207 section 4: the handshake follows 220 and no other reply.
        for code in ["454", "501", "502", "554", "250"] {
            let (error, heard) = fail(with_starttls(&format!("{code} no\r\n")), posture).await;
            assert_eq!(error.cause.reason().key(), "starttls-refused");
            assert_eq!(error.stage, Stage::StartTls);
            let code: Box<str> = format!("starttls-refused-{code}").into();
            assert_eq!(error.cause.report_code(), Some(code));
            assert_eq!(
                heard.lines,
                ["EHLO us.test", "STARTTLS", "QUIT"],
                "row A6-04"
            );
        }
    }
}

#[tokio::test]
async fn e2_32_a_refusal_is_borne_only_if_allowed() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start(with_starttls("454 no\r\n"));
    let connector = connector(&ca);
    let peer = peer_of(&scripted);
    let opened = connector.connect_with(&peer, Posture::DangerousOpportunistic);
    let connection = opened.await.unwrap();
    let facts = connection.facts();
    assert!(facts.tls.is_none() && facts.extensions.pipelining);
    assert!(matches!(&facts.starttls, StartTls::Refused(reply) if reply.code() == 454));
    let scripted = Scripted::start(greet(&["STARTTLS"]));
    let plain = connector
        .connect_with(&peer_of(&scripted), Posture::DangerousPlain)
        .await
        .unwrap();
    assert_eq!(plain.facts().starttls, StartTls::NotTried);
}

#[tokio::test]
async fn h3_05_octets_after_the_220_are_an_attack() {
    for posture in [
        Posture::Authenticate,
        Posture::DangerousEncrypt,
        Posture::DangerousOpportunistic,
    ] {
        for extra in ["250 evil\r\n", "x", "\u{16}\u{3}"] {
            let (error, heard) = fail(with_starttls(&format!("220 go\r\n{extra}")), posture).await;
            assert_eq!(error.cause.reason().key(), "starttls-injection");
            assert_eq!(heard.lines, ["EHLO us.test", "STARTTLS"]);
        }
    }
}

#[tokio::test]
async fn e2_01_h3_08_h3_09_no_banner_in_time() {
    let byte_by_byte = vec![Step::Drip(b'2')];
    for script in [vec![Step::Silence], byte_by_byte] {
        let limit = Duration::from_millis(200);
        let (error, heard) = fail_within(script, Posture::Authenticate, limit).await;
        assert_eq!(error.stage, Stage::Banner);
        assert_eq!(error.cause.reason().key(), "timeout");
        assert!(heard.lines.is_empty(), "nothing is sent before the banner");
    }
}

#[tokio::test]
async fn e2_09_h3_07_banners_that_refuse() {
    for (banner, reason, lines) in [
        ("554 no\r\n", "remote-5xx", &["QUIT"][..]),
        ("521 never\r\n", "remote-5xx", &["QUIT"]),
        ("450 later\r\n", "remote-4xx", &["QUIT"]),
        ("421 busy\r\n", "remote-4xx", &[]),
        ("650 hi\r\n", "connection-lost", &[]),
        ("HTTP/1.1 400 Bad Request\r\n", "connection-lost", &[]),
    ] {
        for posture in ALL {
            let (error, heard) = fail(vec![say(banner)], posture).await;
            assert_eq!(error.stage, Stage::Banner);
            assert_eq!(error.cause.reason().key(), reason, "{banner}");
            assert_eq!(heard.lines, lines, "{banner}");
        }
    }
}

#[tokio::test]
async fn h3_10_h3_11_h3_12_replies_that_are_none() {
    let endless_line = Step::Say("2".repeat(100_000));
    let endless_reply = Step::Say("220-hi\r\n".repeat(10_000));
    for script in [
        vec![endless_line],
        vec![endless_reply],
        vec![say("220-a\r\n250 b\r\n")],
        vec![say("220 a\0b\r\n")],
        vec![say("220 a\rb\r\n")],
    ] {
        let (error, heard) = fail(script, Posture::Authenticate).await;
        assert!(
            matches!(error.cause, Cause::Protocol(ProtocolFault::Reply(_))),
            "{error}"
        );
        assert!(heard.lines.is_empty());
    }
}

#[tokio::test]
async fn h3_06_replies_before_the_questions() {
    let (error, heard) = fail(
        vec![say("220 hi\r\n250 mx\r\n250 ok\r\n")],
        Posture::DangerousPlain,
    )
    .await;
    assert!(
        matches!(error.cause, Cause::Protocol(ProtocolFault::Desync)),
        "{error}"
    );
    assert!(heard.lines.is_empty());
}

#[tokio::test]
async fn e2_12_connections_that_are_lost() {
    for (script, stage) in [
        (vec![Step::Close], Stage::Banner),
        (vec![Step::Reset], Stage::Banner),
        (
            vec![say("220 hi\r\n"), hear("EHLO"), Step::Close],
            Stage::Ehlo,
        ),
        (
            vec![
                say("220 hi\r\n"),
                hear("EHLO"),
                say("250-a\r\n"),
                Step::Close,
            ],
            Stage::Ehlo,
        ),
    ] {
        let (error, _) = fail(script, Posture::Authenticate).await;
        assert_eq!(
            (error.stage, error.cause.reason().key()),
            (stage, "connection-lost")
        );
    }
}

#[tokio::test]
async fn h3_24_nobody_listens() {
    let scripted = Scripted::start(vec![Step::Close]);
    let addr = scripted.addr;
    let _ = tokio::net::TcpStream::connect(addr).await;
    scripted.heard().await; // The listener is gone.
    let peer = Peer::new(HostName::parse(MX).unwrap(), addr);
    let error = refused(connector(&Ca::new("Root")).connect(&peer).await);
    assert_eq!(
        (error.stage, error.cause.reason().key()),
        (Stage::Connect, "connect")
    );
}

#[tokio::test]
async fn e2_02_helo_for_a_peer_without_ehlo() {
    let script = vec![
        say("220 hi\r\n"),
        hear("EHLO us.test"),
        say("502 what\r\n"),
        hear("HELO us.test"),
        say("250 mx1\r\n"),
    ];
    let scripted = Scripted::start(script);
    let connection = connector(&Ca::new("Root"))
        .connect_with(&peer_of(&scripted), Posture::DangerousOpportunistic)
        .await
        .unwrap();
    assert_eq!(connection.facts().starttls, StartTls::NotOffered);
}

#[tokio::test]
async fn e2_27_only_the_ehlo_inside_tls_counts() {
    let ca = Ca::new("Root");
    let mut script = greet(&["STARTTLS", "DSN", "SIZE 10"]);
    script.extend([
        hear("STARTTLS"),
        say("220 go\r\n"),
        Step::Tls(ca.leaf(&[MX]).server()),
        hear("EHLO us.test"),
        ehlo(&["CHUNKING"]),
    ]);
    let scripted = Scripted::start(script);
    let connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
    let offered = &connection.facts().extensions;
    assert!(offered.chunking && !offered.dsn && !offered.starttls);
}

#[tokio::test]
async fn i1_09_a_name_with_an_underscore_is_compared_like_others() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start(secure(ca.leaf(&[MX]).server(), &[]));
    let peer = Peer::new(HostName::parse("mx_1.d.test").unwrap(), scripted.addr);
    // Underscores are fine for pki-types: a mismatch, not a panic.
    let error = refused(connector(&ca).connect(&peer).await);
    assert_eq!(error.cause.reason().key(), "cert-host-mismatch");
}

#[tokio::test]
async fn the_transcript_tells_the_dialogue() {
    let (error, _) = fail(with_starttls("454 \u{1b}[31mno\r\n"), Posture::Authenticate).await;
    let text = error.transcript.to_string();
    assert_eq!(
        text,
        "< 220 mx1 ready\n> EHLO us.test\n< 250 mx1 hello STARTTLS PIPELINING HELP\n\
         > STARTTLS\n< 454 ?[31mno\n> QUIT\n< 221 bye\n"
    );
}
