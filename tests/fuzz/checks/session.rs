//! A whole inbound session: whatever octets come, and however they are cut into reads, the same
//! messages are accepted and the same replies given; no message has a bare CR or LF.

use smtp_proto::BareNewline;

use super::driver::{self, drive, nobody, peer};

pub(super) fn check(input: &[u8]) {
    for rule in [BareNewline::Reject, BareNewline::Normalize] {
        let whole = run(rule, input, input.len().max(1));
        assert_eq!(run(rule, input, 1), whole);
        assert_eq!(run(rule, input, 7), whole);
    }
}

/// Senders, recipients and contents.
fn run(rule: BareNewline, input: &[u8], step: usize) -> Vec<(String, String, Vec<u8>)> {
    let session = driver::session(peer(rule), false);
    let driven = drive(session, input, step, &mut nobody);
    let messages = driven.messages.into_iter();
    messages
        .map(|(envelope, content)| {
            let to: Vec<_> = envelope
                .recipients
                .iter()
                .map(|r| r.mailbox.as_str())
                .collect();
            assert!(!to.is_empty(), "a message without recipients");
            (envelope.reverse_path.to_string(), to.join(" "), content)
        })
        .collect()
}
