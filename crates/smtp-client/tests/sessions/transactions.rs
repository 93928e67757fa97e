//! Transactions: flights, replies by count, outcomes, and what is left when the peer goes away.

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use mail_types::{BodyType, Mailbox, Notify, Recipient, ReversePath};
use smtp_client::{
    Body, Cause, Connection, Connector, ConnectorConfig, MissingExtension, Posture, ProtocolFault,
    RecipientOutcome, Stage, Transaction, TransactionError,
};

use crate::ca::Ca;
use crate::peer::{Heard, Scripted, Step, greet, hear, say, secure};
use crate::{MX, config, peer_of, roots};

pub(crate) const CONTENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n.dot\r\n";

pub(crate) fn recipients(count: usize) -> Vec<Recipient> {
    let recipient = |n| Recipient {
        mailbox: Mailbox::parse(&format!("r{n}@d.test")).unwrap(),
        notify: Notify::Unspecified,
        orcpt: None,
    };
    (0..count).map(recipient).collect()
}

pub(crate) async fn send(
    connection: &mut Connection,
    to: &[Recipient],
    content: &[u8],
) -> Result<Vec<RecipientOutcome>, TransactionError> {
    let from = ReversePath::Mailbox(Mailbox::parse("s@us.test").unwrap());
    let to: Vec<_> = to.iter().collect();
    let transaction = Transaction {
        reverse_path: &from,
        recipients: &to,
        body: BodyType::SevenBit,
        smtputf8: false,
        requiretls: false,
        ret: None,
        envid: None,
        submitter: None,
        size: content.len() as u64,
    };
    let body = Body::from_chunks([Bytes::copy_from_slice(content)]);
    connection.transact(&transaction, body).await
}

async fn open(scripted: &Scripted) -> Connection {
    open_with(scripted, config()).await
}

async fn open_with(scripted: &Scripted, config: ConnectorConfig) -> Connection {
    Connector::new(config, roots(&Ca::new("Root")))
        .connect_with(&peer_of(scripted), Posture::DangerousPlain)
        .await
        .unwrap()
}

/// One transaction in plain text with `count` recipients.
async fn run(
    keywords: &[&str],
    count: usize,
    steps: Vec<Step>,
) -> (Result<Vec<RecipientOutcome>, TransactionError>, bool, Heard) {
    let mut script = greet(keywords);
    script.extend(steps);
    let scripted = Scripted::start(script);
    let mut connection = open(&scripted).await;
    let result = send(&mut connection, &recipients(count), CONTENT).await;
    let usable = connection.is_usable();
    connection.quit().await;
    (result, usable, scripted.heard().await)
}

fn delivered(outcome: &RecipientOutcome) -> bool {
    matches!(outcome, RecipientOutcome::Delivered(_))
}

fn refused(outcome: &RecipientOutcome) -> Option<(Stage, u16)> {
    match outcome {
        RecipientOutcome::Refused { stage, reply } => Some((*stage, reply.code())),
        RecipientOutcome::Delivered(_) | RecipientOutcome::NextTransaction(_) => None,
    }
}

#[tokio::test]
async fn e3_02_data_in_lock_step() {
    let (result, usable, heard) = run(
        &[],
        1,
        vec![
            hear("MAIL FROM:<s@us.test>"),
            say("250 ok\r\n"),
            hear("RCPT TO:<r0@d.test>"),
            say("250 ok\r\n"),
            hear("DATA"),
            say("354 go\r\n"),
            Step::HearData,
            say("250 2.0.0 taken\r\n"),
        ],
    )
    .await;
    let outcomes = result.unwrap();
    assert!(delivered(&outcomes[0]) && usable);
    assert_eq!(heard.content, b"Subject: x\r\n\r\nhello\r\n..dot\r\n");
    assert_eq!(heard.lines.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn e2_23_e2_25_pipelining_with_refused_recipients_and_354() {
    let (result, usable, heard) = run(
        &["PIPELINING"],
        3,
        vec![
            hear("MAIL"),
            hear("RCPT"),
            hear("RCPT"),
            hear("RCPT"),
            hear("DATA"),
            say("250 ok\r\n450-4.2.1 a\r\n450 4.2.1 b\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n"),
            Step::HearData,
            say("250 taken\r\n"),
        ],
    )
    .await;
    let outcomes = result.unwrap();
    assert_eq!(refused(&outcomes[0]), Some((Stage::Rcpt, 450)), "row H3-19");
    assert_eq!(refused(&outcomes[1]), Some((Stage::Rcpt, 550)));
    assert!(delivered(&outcomes[2]) && usable && !heard.content.is_empty());
}

#[tokio::test]
async fn h3_20_all_refused_but_354() {
    let (result, usable, heard) = run(
        &["PIPELINING"],
        1,
        vec![
            hear("MAIL"),
            hear("RCPT"),
            hear("DATA"),
            say("250 ok\r\n550 no\r\n354 go\r\n"),
            Step::HearData,
            say("250 thanks\r\n"),
        ],
    )
    .await;
    assert_eq!(refused(&result.unwrap()[0]), Some((Stage::Rcpt, 550)));
    assert!(heard.content.is_empty() && usable);
}

#[tokio::test]
async fn e2_44_bdat_in_one_flight_inside_tls() {
    let ca = Ca::new("Root");
    let mut script = secure(ca.leaf(&[MX]).server(), &["PIPELINING", "CHUNKING", "SIZE"]);
    script.extend([
        hear("MAIL FROM:<s@us.test> SIZE=27"),
        hear("RCPT"),
        hear("BDAT 27 LAST"),
        Step::HearOctets(CONTENT.len()),
        say("250 ok\r\n250 ok\r\n250 taken\r\n"),
    ]);
    let scripted = Scripted::start(script);
    let connector = Connector::new(config(), roots(&ca));
    let mut connection = connector.connect(&peer_of(&scripted)).await.unwrap();
    let outcomes = send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap();
    assert!(delivered(&outcomes[0]));
    connection.quit().await;
    assert_eq!(scripted.heard().await.content, CONTENT);
}

#[tokio::test]
async fn two_messages_on_one_connection_with_reset_after_a_refusal() {
    let mut script = greet(&["PIPELINING", "CHUNKING"]);
    script.extend([
        hear("MAIL"),
        hear("RCPT"),
        hear("BDAT 27 LAST"),
        Step::HearOctets(27),
        say("250 ok\r\n550 no\r\n503 none\r\n"),
        hear("RSET"),
        hear("MAIL"),
        hear("RCPT"),
        hear("BDAT 27 LAST"),
        Step::HearOctets(27),
        say("250 flushed\r\n250 ok\r\n250 ok\r\n250 taken\r\n"),
        hear("MAIL"),
        hear("RCPT"),
        hear("BDAT 27 LAST"),
        Step::HearOctets(27),
        say("250 ok\r\n250 ok\r\n250 taken\r\n"),
    ]);
    let scripted = Scripted::start(script);
    let mut connection = open(&scripted).await;
    let first = send(&mut connection, &recipients(1), CONTENT)
        .await
        .unwrap();
    assert_eq!(refused(&first[0]), Some((Stage::Rcpt, 550)));
    for _ in 0..2 {
        let next = send(&mut connection, &recipients(1), CONTENT)
            .await
            .unwrap();
        assert!(delivered(&next[0]), "row E2-22");
    }
    assert_eq!(connection.transactions(), 3);
    connection.quit().await;
    assert_eq!(scripted.heard().await.content.len(), 3 * CONTENT.len());
}

#[tokio::test]
async fn e2_20_too_many_recipients_go_at_once() {
    let (result, usable, _) = run(
        &["PIPELINING"],
        4,
        vec![
            hear("MAIL"),
            hear("RCPT"),
            hear("RCPT"),
            hear("RCPT"),
            hear("RCPT"),
            hear("DATA"),
            say("250 ok\r\n250 ok\r\n250 ok\r\n452 4.5.3 many\r\n452 4.5.3 many\r\n354 go\r\n"),
            Step::HearData,
            say("250 taken\r\n"),
        ],
    )
    .await;
    let outcomes = result.unwrap();
    assert!(delivered(&outcomes[0]) && delivered(&outcomes[1]) && usable);
    for rest in &outcomes[2..] {
        assert!(matches!(rest, RecipientOutcome::NextTransaction(Some(_))));
    }
}

#[tokio::test]
async fn e2_13_421_midway() {
    let (result, usable, _) = run(
        &[],
        3,
        vec![
            hear("MAIL"),
            say("250 ok\r\n"),
            hear("RCPT"),
            say("550 no\r\n"),
            hear("RCPT"),
            say("421 bye\r\n"),
            Step::Close,
        ],
    )
    .await;
    let error = result.unwrap_err();
    assert!(matches!(&error.cause, Cause::Remote(reply) if reply.code() == 421));
    assert_eq!(error.stage, Stage::Rcpt);
    assert_eq!(
        error.recipients[0].as_ref().and_then(refused),
        Some((Stage::Rcpt, 550))
    );
    assert_eq!(error.recipients[1..], [None, None]);
    assert!(!error.after_final_dot && !error.unanswered && !usable);
}

#[tokio::test]
async fn e2_13_421_to_mail_in_one_flight_is_no_duplicate() {
    let flight = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("BDAT"),
        Step::HearOctets(27),
        say("421 busy\r\n"),
        Step::Close,
    ];
    let (result, _, _) = run(&["PIPELINING", "CHUNKING"], 1, flight).await;
    let error = result.unwrap_err();
    assert!(matches!(&error.cause, Cause::Remote(reply) if reply.code() == 421));
    assert!(!error.after_final_dot && error.unanswered);
    // Without an answer the peer may have all of it.
    let flight = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("BDAT"),
        Step::HearOctets(27),
        Step::Close,
    ];
    let (result, _, _) = run(&["PIPELINING", "CHUNKING"], 1, flight).await;
    let error = result.unwrap_err();
    assert!(error.after_final_dot && error.unanswered);
}

#[tokio::test]
async fn h3_15_lost_before_the_content_ended() {
    for (steps, stage) in [
        (vec![hear("MAIL"), Step::Close], Stage::Mail),
        (
            vec![hear("MAIL"), say("250 ok\r\n"), hear("RCPT"), Step::Close],
            Stage::Rcpt,
        ),
        (
            vec![
                hear("MAIL"),
                say("250 ok\r\n"),
                hear("RCPT"),
                say("250 ok\r\n"),
                hear("DATA"),
                Step::Close,
            ],
            Stage::Data,
        ),
    ] {
        let (result, _, _) = run(&[], 1, steps).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.stage, error.cause.reason().key()),
            (stage, "connection-lost")
        );
        assert!(!error.after_final_dot, "{stage}");
        assert_eq!(error.unanswered, stage == Stage::Mail);
        assert_eq!(error.recipients, [None]);
    }
}

fn to_the_dot(last: Step) -> Vec<Step> {
    vec![
        hear("MAIL"),
        say("250 ok\r\n"),
        hear("RCPT"),
        say("250 ok\r\n"),
        hear("DATA"),
        say("354 go\r\n"),
        Step::HearData,
        last,
    ]
}

#[tokio::test]
async fn h3_16_nothing_after_the_dot_may_be_a_duplicate() {
    for (last, reason) in [(Step::Close, "connection-lost"), (Step::Silence, "timeout")] {
        let mut script = greet(&[]);
        let mut config = config();
        if matches!(last, Step::Silence) {
            config.timeouts.dot = Duration::from_millis(500);
        }
        script.extend(to_the_dot(last));
        let scripted = Scripted::start(script);
        let mut connection = open_with(&scripted, config).await;
        let result = send(&mut connection, &recipients(1), CONTENT).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.stage, error.cause.reason().key()),
            (Stage::Dot, reason)
        );
        assert!(error.after_final_dot && !connection.is_usable());
        assert_eq!(error.recipients, [None]);
    }
}

#[tokio::test]
async fn h3_18_250_and_then_gone_is_success() {
    let mut steps = to_the_dot(say("250 taken\r\n"));
    steps.push(Step::Reset);
    let (result, _, _) = run(&[], 1, steps).await;
    assert!(delivered(&result.unwrap()[0]));
}

#[tokio::test]
async fn e2_21_refused_after_the_dot() {
    for (reply, usable_after) in [
        ("451 later\r\n", true),
        ("554 no\r\n", true),
        ("421 bye\r\n", false),
    ] {
        let (result, usable, _) = run(&[], 1, to_the_dot(say(reply))).await;
        let code = reply[..3].parse().unwrap();
        assert_eq!(refused(&result.unwrap()[0]), Some((Stage::Dot, code)));
        assert_eq!(usable, usable_after);
    }
}

#[tokio::test]
async fn h3_06_replies_nobody_asked_for() {
    // In the middle: 250 where 354 is due.
    let (result, usable, heard) = run(
        &[],
        1,
        vec![
            hear("MAIL"),
            say("250 a\r\n250 b\r\n250 c\r\n"),
            Step::Silence,
        ],
    )
    .await;
    let error = result.unwrap_err();
    assert!(
        matches!(error.cause, Cause::Protocol(ProtocolFault::Unexpected(_))),
        "{error}"
    );
    assert!(!usable && heard.content.is_empty());
    // After the end: the outcome stands, the connection does not.
    let (result, usable, _) = run(&[], 1, to_the_dot(say("250 taken\r\n250 again\r\n"))).await;
    assert!(delivered(&result.unwrap()[0]) && !usable);
}

#[tokio::test]
async fn e2_39_what_is_missing_is_said_before_mail() {
    let scripted = Scripted::start(greet(&["SIZE 10"]));
    let mut connection = open(&scripted).await;
    let error = send(&mut connection, &recipients(2), CONTENT)
        .await
        .unwrap_err();
    let missing = MissingExtension::Size {
        size: 27,
        limit: 10,
    };
    assert!(matches!(error.cause, Cause::Missing(m) if m == missing));
    assert_eq!(error.cause.reason().key(), "extension-missing");
    assert!(connection.is_usable() && error.unanswered);
    connection.quit().await;
    assert_eq!(scripted.heard().await.lines, ["EHLO us.test", "QUIT"]);
}

#[tokio::test]
async fn e2_26_a_peer_that_talks_before_it_listens() {
    const COUNT: usize = 1_000;
    let content = b"0123456\r\n".repeat(1_000_000); // More than the system's buffers take.
    let mut script = greet(&["PIPELINING", "CHUNKING"]);
    script.push(hear("MAIL"));
    // 600 KB of replies before another octet is read.
    let padding = "x".repeat(600);
    script.push(Step::Say(format!("250 {padding}\r\n").repeat(COUNT + 1)));
    script.extend(vec![hear("RCPT"); COUNT]);
    script.extend([
        hear("BDAT"),
        Step::HearOctets(content.len()),
        say("250 taken\r\n"),
    ]);
    let scripted = Scripted::start(script);
    let mut config = config();
    config.one_flight_max = u64::MAX;
    config.timeouts.block = Duration::from_secs(20);
    let mut connection = open_with(&scripted, config).await;
    let outcomes = send(&mut connection, &recipients(COUNT), &content).await;
    assert!(outcomes.unwrap().iter().all(delivered));
}

#[tokio::test]
async fn a_body_from_a_file_in_blocks() {
    let content = b"a line of some length, and\r\n.a dot\r\n".repeat(10_000);
    let scripted = Scripted::start({
        let mut script = greet(&[]);
        script.extend(to_the_dot(say("250 taken\r\n")));
        script
    });
    let mut connection = open(&scripted).await;
    let (from, to) = (ReversePath::Null, recipients(1));
    let to: Vec<_> = to.iter().collect();
    let transaction = Transaction {
        reverse_path: &from,
        recipients: &to,
        body: BodyType::SevenBit,
        smtputf8: false,
        requiretls: false,
        ret: None,
        envid: None,
        submitter: None,
        size: content.len() as u64,
    };
    let body = Body::from_async_read(Cursor::new(content.clone()));
    let outcomes = connection.transact(&transaction, body).await.unwrap();
    assert!(delivered(&outcomes[0]));
    connection.quit().await;
    let heard = scripted.heard().await;
    assert_eq!(heard.lines[1], "MAIL FROM:<>");
    let stuffed = String::from_utf8(content)
        .unwrap()
        .replace("\r\n.", "\r\n..");
    assert!(heard.content == stuffed.as_bytes());
}

#[tokio::test]
async fn a_body_of_the_wrong_size_is_never_ended() {
    for (said, why) in [(28u64, "shorter"), (26, "longer")] {
        for keywords in [&[][..], &["PIPELINING", "CHUNKING"]] {
            let mut script = greet(keywords);
            if keywords.is_empty() {
                script.extend(to_the_dot(say("250 taken\r\n")));
            }
            let scripted = Scripted::start(script);
            let mut connection = open(&scripted).await;
            let (from, to) = (ReversePath::Null, recipients(1));
            let to: Vec<_> = to.iter().collect();
            let transaction = Transaction {
                reverse_path: &from,
                recipients: &to,
                body: BodyType::SevenBit,
                smtputf8: false,
                requiretls: false,
                ret: None,
                envid: None,
                submitter: None,
                size: said,
            };
            let body = Body::from_chunks([Bytes::from_static(CONTENT)]);
            let error = connection.transact(&transaction, body).await.unwrap_err();
            assert_eq!(error.cause.reason().key(), "local", "{why}");
            assert!(!error.after_final_dot && !connection.is_usable());
            connection.quit().await;
            let heard = scripted.heard().await;
            assert!(!heard.lines.iter().any(|l| l == "." || l == "QUIT"));
        }
    }
}

#[tokio::test]
async fn a_refusal_in_the_midst_of_the_content_is_heard() {
    let mut script = greet(&[]);
    script.extend([
        hear("MAIL"),
        say("250 ok\r\n"),
        hear("RCPT"),
        say("250 ok\r\n"),
        hear("DATA"),
        say("354 go\r\n"),
        Step::HearOctets(1_000),
        say("552 5.3.4 too big\r\n"),
        Step::Close,
    ]);
    let scripted = Scripted::start(script);
    let mut connection = open(&scripted).await;
    let content = b"0123456789\r\n".repeat(500_000);
    let error = send(&mut connection, &recipients(1), &content)
        .await
        .unwrap_err();
    // A reset may overtake the reply; if the reply was heard, it is the cause.
    match &error.cause {
        Cause::Remote(reply) => assert_eq!(reply.code(), 552),
        Cause::Lost(_) => {}
        other => panic!("{other}"),
    }
    assert_eq!(error.recipients, [None]);
}
