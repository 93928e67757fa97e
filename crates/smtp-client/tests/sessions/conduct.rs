//! Time limits, turns, and how sessions end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::sign::CertifiedKey;
use smtp_client::{Cause, Connector, Posture, Stage};

use crate::ca::Ca;
use crate::peer::{Scripted, Step, ehlo, greet, hear, say, secure};
use crate::transactions::{CONTENT, recipients, send};
use crate::{MX, config, connector, peer_of, roots};

/// Each step has a limit of its own, and it is that one which ends the session.
#[tokio::test]
async fn e2_17_each_step_has_its_own_time_limit() {
    let ca = Ca::new("Root");
    let greeted = |more: &[Step]| [&greet(&[])[..], more].concat();
    let tls = |more: &[Step]| [&greet(&["STARTTLS"])[..], more].concat();
    for (stage, script) in [
        (Stage::Banner, vec![Step::Silence]),
        (
            Stage::Ehlo,
            vec![say("220 hi\r\n"), hear("EHLO"), Step::Silence],
        ),
        (Stage::StartTls, tls(&[hear("STARTTLS"), Step::Silence])),
        (
            Stage::Handshake,
            tls(&[hear("STARTTLS"), say("220 go\r\n"), Step::Silence]),
        ),
        (Stage::Mail, greeted(&[hear("MAIL"), Step::Silence])),
        (
            Stage::Rcpt,
            greeted(&[hear("MAIL"), say("250 ok\r\n"), hear("RCPT"), Step::Silence]),
        ),
        (
            Stage::Data,
            greeted(&[
                hear("MAIL"),
                say("250 ok\r\n"),
                hear("RCPT"),
                say("250 ok\r\n"),
                hear("DATA"),
                Step::Silence,
            ]),
        ),
        (
            Stage::Dot,
            greeted(&[
                hear("MAIL"),
                say("250 ok\r\n"),
                hear("RCPT"),
                say("250 ok\r\n"),
                hear("DATA"),
                say("354 go\r\n"),
                Step::HearData,
                Step::Silence,
            ]),
        ),
    ] {
        let scripted = Scripted::start(script);
        let mut config = config();
        let t = &mut config.timeouts;
        let limit = match stage {
            Stage::Banner => &mut t.banner,
            Stage::Ehlo => &mut t.ehlo,
            Stage::StartTls => &mut t.starttls,
            Stage::Handshake => &mut t.handshake,
            Stage::Mail => &mut t.mail,
            Stage::Rcpt => &mut t.rcpt,
            Stage::Data => &mut t.data,
            _ => &mut t.dot,
        };
        *limit = Duration::from_millis(200);
        let connector = Connector::new(config, roots(&ca));
        let opened = connector
            .connect_with(&peer_of(&scripted), Posture::DangerousOpportunistic)
            .await;
        let (at, cause) = match opened {
            Err(error) => (error.stage, error.cause),
            Ok(mut connection) => {
                let error = send(&mut connection, &recipients(1), CONTENT).await;
                let error = error.unwrap_err();
                (error.stage, error.cause)
            }
        };
        assert_eq!(at, stage);
        let timed_out = matches!(
            cause,
            Cause::Timeout(_) | Cause::Handshake(smtp_client::HandshakeFault::Timeout)
        );
        assert!(timed_out, "{stage}: {cause}");
        scripted.heard().await;
    }
}

#[tokio::test]
async fn e2_14_a_peer_that_withholds_221_is_left_all_the_same() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start([&greet(&[])[..], &[hear("QUIT"), Step::Silence]].concat());
    let connection = connector(&ca)
        .connect_with(&peer_of(&scripted), Posture::DangerousPlain)
        .await
        .unwrap();
    let began = Instant::now();
    connection.quit().await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        scripted.heard().await.lines.last().map(String::as_str),
        Some("QUIT")
    );
}

/// The peer listens for a moment before each reply: nothing may come that waits for it.
#[tokio::test]
async fn e2_24_nothing_is_sent_ahead_of_starttls_ehlo_data_and_quit() {
    let ca = Ca::new("Root");
    let mut steps = vec![Step::Hush, say("220 hi\r\n"), hear("EHLO"), Step::Hush];
    steps.extend([
        ehlo(&["STARTTLS", "PIPELINING"]),
        hear("STARTTLS"),
        Step::Hush,
    ]);
    steps.extend([
        say("220 go\r\n"),
        Step::Tls(ca.leaf(&[MX]).server()),
        hear("EHLO"),
    ]);
    steps.extend([
        Step::Hush,
        ehlo(&["PIPELINING"]),
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
    ]);
    steps.extend([
        Step::Hush,
        say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Step::HearData,
    ]);
    steps.extend([Step::Hush, say("250 kept\r\n"), hear("QUIT"), Step::Hush]);
    let scripted = Scripted::start(steps);
    let mut connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
    send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap();
    connection.quit().await;
    let heard = scripted.heard().await;
    assert_eq!(
        heard.lines.last().map(String::as_str),
        Some("QUIT"),
        "{:?}",
        heard.lines
    );
}

#[tokio::test]
async fn e2_30_a_session_that_is_too_weak_ends_without_a_word_inside_tls() {
    let (ca, stranger) = (Ca::new("Root"), Ca::new("Stranger"));
    for leaf in [stranger.leaf(&[MX]), ca.leaf(&["www.test"])] {
        let scripted = Scripted::start(secure(leaf.server(), &[]));
        assert!(connector(&ca).connect(&peer_of(&scripted)).await.is_err());
        let heard = scripted.heard().await;
        let inside = heard
            .lines
            .iter()
            .skip_while(|l| !l.starts_with('<'))
            .skip(1);
        assert_eq!(
            inside.filter(|l| *l != "QUIT").count(),
            0,
            "{:?}",
            heard.lines
        );
    }
}

/// TLS that ends without close_notify is an error inside a reply, and nothing after a whole one.
#[tokio::test]
async fn h3_33_tls_cut_off_counts_inside_a_reply_only() {
    let ca = Ca::new("Root");
    let server = ca.leaf(&[MX]).server();
    let until_dot = |last: &str| {
        let mut steps = secure(Arc::clone(&server), &[]);
        steps.extend([
            hear("MAIL"),
            say("250 ok\r\n"),
            hear("RCPT"),
            say("250 ok\r\n"),
        ]);
        steps.extend([
            hear("DATA"),
            say("354 go\r\n"),
            Step::HearData,
            say(last),
            Step::Cut,
        ]);
        Scripted::start(steps)
    };
    let whole = until_dot("250 kept\r\n");
    let mut connection = connector(&ca).connect(&peer_of(&whole)).await.unwrap();
    let outcomes = send(&mut connection, &recipients(1), CONTENT).await;
    assert!(outcomes.is_ok(), "{outcomes:?}");
    let half = until_dot("250 ke");
    let mut connection = connector(&ca).connect(&peer_of(&half)).await.unwrap();
    let error = send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap_err();
    assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
    assert!(error.after_final_dot, "it may have the message");
}

/// Each reply within its limit, all of them together far beyond each limit.
#[tokio::test]
async fn e2_18_limits_are_of_commands_and_not_of_the_session() {
    const RECIPIENTS: usize = 12;
    let ca = Ca::new("Root");
    let late = |reply: &str| [Step::Pause(Duration::from_millis(600)), say(reply)];
    let mut steps = greet(&[]);
    steps.push(hear("MAIL"));
    steps.extend(late("250 ok\r\n"));
    for _ in 0..RECIPIENTS {
        steps.push(hear("RCPT"));
        steps.extend(late("250 ok\r\n"));
    }
    steps.push(hear("DATA"));
    steps.extend(late("354 go\r\n"));
    steps.push(Step::HearData);
    steps.extend(late("250 kept\r\n"));
    let scripted = Scripted::start(steps);
    let mut config = config();
    let t = &mut config.timeouts;
    for limit in [&mut t.mail, &mut t.rcpt, &mut t.data, &mut t.dot] {
        *limit = Duration::from_secs(4);
    }
    let connector = Connector::new(config, roots(&ca));
    let peer = peer_of(&scripted);
    let opened = connector.connect_with(&peer, Posture::DangerousOpportunistic);
    let mut connection = opened.await.unwrap();
    send(&mut connection, &recipients(RECIPIENTS), CONTENT)
        .await
        .unwrap();
}

/// An endless stream of key updates is TLS that works, and no reply: the time limit ends it.
#[tokio::test]
async fn h3_34_key_updates_without_end_run_into_the_time_limit() {
    let ca = Ca::new("Root");
    let mut steps = secure(ca.leaf(&[MX]).server(), &[]);
    steps.extend([hear("MAIL"), Step::KeyUpdates]);
    let scripted = Scripted::start(steps);
    let mut config = config();
    config.timeouts.mail = Duration::from_millis(300);
    let connector = Connector::new(config, roots(&ca));
    let mut connection = connector.connect(&peer_of(&scripted)).await.unwrap();
    let error = send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause, Cause::Timeout(_) | Cause::Lost(_)),
        "{error}"
    );
}

#[tokio::test]
async fn i4_05_replies_in_records_of_one_octet_are_read() {
    let ca = Ca::new("Root");
    let mut steps = secure(ca.leaf(&[MX]).server(), &[]);
    steps.extend([
        hear("MAIL"),
        Step::Crumbs("250 ok\r\n"),
        hear("RCPT"),
        Step::Crumbs("250 ok\r\n"),
    ]);
    steps.extend([hear("DATA"), Step::Crumbs("354 go\r\n"), Step::HearData]);
    steps.push(Step::Crumbs("250-kept\r\n250 really\r\n"));
    let scripted = Scripted::start(steps);
    let mut connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
    send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap();
    connection.quit().await;
    assert!(
        scripted.heard().await.closed_cleanly,
        "close_notify after QUIT"
    );
}

/// Stapled responses are not looked at, and no must-staple is required: lists are what we check.
#[tokio::test]
async fn i3_07_whatever_is_stapled_changes_nothing() {
    let ca = Ca::new("Root");
    for staple in [b"garbage".to_vec(), vec![0], vec![0x30; 60_000]] {
        let leaf = ca.leaf(&[MX]);
        let server = leaf.server_with(|key: &mut CertifiedKey| key.ocsp = Some(staple.clone()));
        let scripted = Scripted::start(secure(server, &[]));
        let connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
        connection.quit().await;
        scripted.heard().await;
    }
}

#[tokio::test]
async fn i2_11_an_intermediate_that_another_host_has_shown_is_not_remembered() {
    let ca = Ca::new("Root");
    let inner = ca.intermediate("Inner");
    let connector = connector(&ca);
    for round in 0..2 {
        let complete = inner.leaf(&[MX]).with(inner.der());
        let scripted = Scripted::start(secure(complete.server(), &[]));
        let connection = connector.connect(&peer_of(&scripted)).await.unwrap();
        connection.quit().await;
        let scripted = Scripted::start(secure(inner.leaf(&[MX]).server(), &[]));
        let error = connector
            .connect(&peer_of(&scripted))
            .await
            .err()
            .expect("refused");
        assert_eq!(
            error.cause.report_code().as_deref(),
            Some("missing-intermediate"),
            "{round}"
        );
    }
}
