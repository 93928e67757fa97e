//! A whole inbound session: whatever octets come, and however they are cut into reads, the same
//! messages are accepted; none of them has a bare CR or LF, and every reply line is one.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mail_types::{Domain, QueueId, Timestamp};
use smtp_proto::BareNewline;
use smtp_proto::server::{Action, Peer, Relaying, Session, Settings};

fuzz_target!(|input: &[u8]| {
    for rule in [BareNewline::Reject, BareNewline::Normalize] {
        let whole = accepted(rule, input, input.len().max(1));
        assert_eq!(accepted(rule, input, 1), whole);
        assert_eq!(accepted(rule, input, 7), whole);
    }
});

/// Senders, recipients and contents.
fn accepted(rule: BareNewline, input: &[u8], step: usize) -> Vec<(String, String, Vec<u8>)> {
    let settings = Settings::new(Domain::parse("relay.test").unwrap(), "fuzz");
    let peer = Peer {
        address: IpAddr::from([192, 0, 2, 1]),
        relaying: Relaying::Allowed,
        plaintext: false,
        xclient: true,
        xforward: true,
        adds_requiretls: false,
        bare_newline: rule,
    };
    let now = Timestamp::from_secs(1_772_366_400);
    let mut session = Session::new(Arc::new(settings), peer);
    session.greet(false);
    let (mut at, mut read, mut all, mut content) = (0, 0, Vec::new(), Vec::new());
    loop {
        let (used, action) = session.handle(&input[at..read], now);
        at += used;
        match action {
            Action::Read if read == input.len() => return all,
            Action::Read => {
                replies(&session.output().split());
                read = (read + step).min(input.len());
            }
            Action::Admit { .. } => session.admitted(Ok(())),
            Action::CheckRecipient => session.recipient_checked(Ok(())),
            Action::Xclient(_) => session.impersonated(None, None),
            // No logins are set up, so that AUTH is refused before this.
            Action::Authenticate => return all,
            Action::Begin { .. } => {
                content.clear();
                // The trace header is ours.
                let _ = session.begun(Ok(QueueId::from_raw(1)), now);
            }
            Action::Body(octets) => content.extend_from_slice(octets),
            Action::Abandon => content.clear(),
            Action::Commit(envelope) => {
                lines(&content);
                let to: Vec<_> = envelope.recipients.iter().map(|r| r.mailbox.as_str()).collect();
                all.push((envelope.reverse_path.to_string(), to.join(" "), content.clone()));
                session.committed(Ok(QueueId::from_raw(1)));
            }
            Action::StartTls | Action::Close => {
                replies(&session.output().split());
                return all;
            }
        }
        for _ in session.take_notices() {}
    }
}

fn lines(content: &[u8]) {
    for (n, octet) in content.iter().enumerate() {
        match octet {
            b'\n' => assert!(n > 0 && content[n - 1] == b'\r', "a bare LF at {n}"),
            b'\r' => assert_eq!(content.get(n + 1), Some(&b'\n'), "a bare CR at {n}"),
            _ => {}
        }
    }
}

fn replies(output: &[u8]) {
    assert!(output.is_empty() || output.ends_with(b"\r\n"));
    for line in output.split_inclusive(|b| *b == b'\n') {
        assert!(line.len() <= 514, "{}", line.escape_ascii());
        assert!(line[..3].iter().all(u8::is_ascii_digit), "{}", line.escape_ascii());
        let text = &line[..line.len() - 2];
        assert!(!text.iter().any(|b| *b < b' '), "{}", line.escape_ascii());
    }
}
