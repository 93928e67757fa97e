//! Any attributes of XFORWARD and XCLIENT: what is believed of them has no control characters and
//! cannot begin another header field, log field or reply.

use mail_types::Envelope;
use smtp_proto::BareNewline;
use smtp_proto::server::Claimed;

use super::driver::{self, drive, nobody, peer};

pub(super) fn check(input: &[u8]) {
    // The octets are one line's: what stands behind its end is the session target's.
    let line: Vec<u8> = input
        .iter()
        .copied()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    for verb in ["XFORWARD ", "XCLIENT "] {
        let mut text = b"EHLO front.test\r\n".to_vec();
        text.extend_from_slice(verb.as_bytes());
        text.extend_from_slice(&line);
        text.extend_from_slice(
            b"\r\nEHLO client.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
        );
        let session = driver::session(peer(BareNewline::Reject), false);
        let driven = drive(session, &text, text.len(), &mut nobody);
        for claim in &driven.claims {
            for name in [&claim.helo, &claim.login] {
                if let Claimed::Is(name) = name {
                    clean(name);
                }
            }
        }
        // A line that is too long takes nothing with it.
        assert_eq!(driven.messages.len(), 1);
        driven
            .messages
            .iter()
            .for_each(|(envelope, _)| arrival(envelope));
    }
}

fn arrival(envelope: &Envelope) {
    let arrival = &envelope.arrival;
    let texts = [&arrival.upstream_id, &arrival.message_id, &arrival.identity];
    texts.into_iter().flatten().for_each(|text| clean(text));
    clean(&arrival.helo);
}

fn clean(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= 1024, "{} octets", text.len());
}
