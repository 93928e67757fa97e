//! Real and odd mail arrives as it was sent, octet for octet, below our one trace field.

use std::collections::BTreeMap;
use std::time::Duration;

use sealpost_tests::{CorpusMessage, PostfixSetup, Relay, RelayConfig, SmtpClient, mail_corpus};
use testkit::{FakeMx, TestCa, Zone};

const SOON: Duration = Duration::from_secs(60);

testkit::net_test! {
    async fn odd_mail_arrives_unchanged_by_data() {
        let (zone, relay) = relay().await;
        zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        mx.script(|s| s.extensions.chunking = false);
        let corpus = mail_corpus();
        let mut client = relay.client().await;
        for message in &corpus {
            let to = format!("{}@d.test", message.name);
            client
                .send_with("a@org.test", " BODY=8BITMIME", &[&to], "", &message.content)
                .await;
        }
        unchanged(&mx, &corpus, false).await;
    }

    async fn odd_mail_arrives_unchanged_by_bdat() {
        let (zone, relay) = relay().await;
        zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        let corpus = mail_corpus();
        let mut client = relay.client().await;
        for message in &corpus {
            client.command("MAIL FROM:<a@org.test> BODY=8BITMIME").await.demand(250);
            let to = format!("RCPT TO:<{}@d.test>", message.name);
            client.command(&to).await.demand(250);
            // In two pieces, the first of which ends anywhere.
            let (first, last) = message.content.split_at(message.content.len() / 2);
            client.write(format!("BDAT {}\r\n", first.len()).as_bytes()).await;
            client.write(first).await;
            client.reply().await.demand(250);
            client.write(format!("BDAT {} LAST\r\n", last.len()).as_bytes()).await;
            client.write(last).await;
            client.reply().await.demand(250);
        }
        unchanged(&mx, &corpus, true).await;
    }

    /// What Postfix keeps of a message is the same whether it comes from its sender or from us.
    async fn postfix_keeps_odd_mail_as_if_it_came_straight_from_its_sender() {
        let (zone, relay) = relay().await;
        zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let ca = TestCa::new();
        let address = "127.0.0.25:25".parse().unwrap();
        let mx = PostfixSetup::mx(address, "mx.d.test", &["d.test"], &ca.leaf(&["mx.d.test"]))
            // Else it takes Return-Path and Bcc out, wherever they come from.
            .set("message_drop_headers", "")
            .start()
            .await;
        let corpus = mail_corpus();
        let mut direct = SmtpClient::connect(mx.address()).await;
        direct.ehlo("client.test").await;
        let mut relayed = relay.client().await;
        for message in &corpus {
            for (client, way) in [(&mut direct, "direct"), (&mut relayed, "relayed")] {
                let to = format!("{}+{way}@d.test", message.name);
                client
                    .send_with("a@org.test", " BODY=8BITMIME", &[&to], "", &message.content)
                    .await;
            }
        }
        let mail = mx.wait_for_mail(2 * corpus.len(), SOON).await;
        let kept: BTreeMap<String, Vec<u8>> =
            mail.into_iter().map(|mail| (recipient(&mail), mail)).collect();
        for message in &corpus {
            let name = &message.name;
            let direct = &kept[&format!("{name}+direct@d.test")];
            let relayed = &kept[&format!("{name}+relayed@d.test")];
            // Return-Path, X-Original-To, Delivered-To, Received; with us one Received more.
            let (_, direct) = skip_fields(direct, 4);
            let (trace, relayed) = skip_fields(relayed, 5);
            let trace = String::from_utf8_lossy(trace);
            assert!(trace.contains("by relay.test "), "{name}: {trace}");
            if message.content.starts_with(b"From ") {
                // Not a header field: at the very top Postfix makes it one, below ours it is the
                // end of the header.
                let content = String::from_utf8_lossy(&message.content).replace("\r\n", "\n");
                let relayed = String::from_utf8_lossy(relayed);
                assert_eq!(relayed, format!("\n{content}"), "{name}");
                continue;
            }
            assert_eq!(
                direct.escape_ascii().to_string(),
                relayed.escape_ascii().to_string(),
                "{name}"
            );
        }
    }
}

async fn relay() -> (Zone, Relay) {
    let zone = Zone::start().await;
    let relay = Relay::start(RelayConfig::default()).await;
    (zone, relay)
}

async fn unchanged(mx: &FakeMx, corpus: &[CorpusMessage], chunked: bool) {
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for message in mx.wait_for_messages(corpus.len(), SOON).await {
        assert_eq!(message.chunked, chunked, "{message:?}");
        assert!(
            message.from_params.contains("BODY=8BITMIME"),
            "{}",
            message.from_params
        );
        found.insert(message.recipients()[0].to_owned(), message.data);
    }
    assert_eq!(found.len(), corpus.len());
    for CorpusMessage { name, content } in corpus {
        let data = &found[&format!("{name}@d.test")];
        let (trace, rest) = skip_fields(data, 1);
        assert!(
            trace.starts_with(b"Received: "),
            "{name}: {}",
            trace.escape_ascii()
        );
        assert_eq!(
            rest.escape_ascii().to_string(),
            content.escape_ascii().to_string(),
            "{name}"
        );
    }
}

/// The first `n` header fields with their continuation lines, and what follows.
fn skip_fields(mail: &[u8], n: usize) -> (&[u8], &[u8]) {
    let mut seen = 0;
    let mut at = 0;
    for line in mail.split_inclusive(|b| *b == b'\n') {
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !folded {
            seen += 1;
        }
        if seen > n {
            break;
        }
        at += line.len();
    }
    mail.split_at(at)
}

fn recipient(mail: &[u8]) -> String {
    let text = String::from_utf8_lossy(mail);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("X-Original-To: "));
    line.unwrap_or_default().to_owned()
}
