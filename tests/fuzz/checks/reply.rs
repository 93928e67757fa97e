//! Any octets are replies, an error, or not yet a reply; however they are cut into reads.

use bytes::BytesMut;
use mail_types::harmless;
use smtp_proto::{Reply, ReplyLimits, ReplyParser};

pub(super) fn check(input: &[u8]) {
    let whole = read(input, input.len().max(1));
    assert_eq!(read(input, 1), whole);
    for reply in &whole.0 {
        assert!(reply.to_string().chars().all(|c| harmless(c) == c));
    }
}

fn read(input: &[u8], step: usize) -> (Vec<Reply>, bool) {
    let mut parser = ReplyParser::new(ReplyLimits::default());
    let (mut buffer, mut replies) = (BytesMut::new(), Vec::new());
    for chunk in input.chunks(step) {
        buffer.extend_from_slice(chunk);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(_) => return (replies, false),
            }
        }
    }
    (replies, true)
}
