//! What comes out of the decoder never has a bare CR or LF, and is the same however the octets are
//! cut into reads.

use smtp_proto::{BareNewline, DataDecoder, Piece};

pub(super) fn check(input: &[u8]) {
    for rule in [BareNewline::Reject, BareNewline::Normalize] {
        let whole = decode(rule, input, input.len().max(1));
        assert_eq!(decode(rule, input, 1), whole);
        assert_eq!(decode(rule, input, 3), whole);
        let content = &whole.0;
        for (n, octet) in content.iter().enumerate() {
            match octet {
                b'\n' => assert!(n > 0 && content[n - 1] == b'\r', "a bare LF at {n}"),
                b'\r' if n + 1 < content.len() => {
                    assert_eq!(content[n + 1], b'\n', "a bare CR at {n}");
                }
                _ => {}
            }
        }
    }
}

/// The content, how it ended, and how many octets of the input that took. At most as many octets as
/// `step` come with each read.
fn decode(rule: BareNewline, input: &[u8], step: usize) -> (Vec<u8>, &'static str, Option<usize>) {
    let mut decoder = DataDecoder::new(rule);
    let (mut content, mut at, mut read) = (Vec::new(), 0, 0);
    loop {
        let (used, piece) = decoder.next(&input[at..read]);
        let ended = match piece {
            Piece::Content(octets) => {
                content.extend_from_slice(octets);
                None
            }
            Piece::More if read == input.len() => return (content, "more", None),
            Piece::More => {
                read = (read + step).min(input.len());
                None
            }
            Piece::End => Some("end"),
            Piece::BareNewline => Some("bare newline"),
        };
        at += used;
        match ended {
            Some("end") => return (content, "end", Some(at)),
            // How much came out before the refusal depends on the reads, and does not matter.
            Some(other) => return (Vec::new(), other, None),
            None => {}
        }
    }
}
