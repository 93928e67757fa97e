//! What reads the queue's records and rows, for fuzzing: whatever bytes come, nothing panics, and what is
//! read is written so that it is read the same.
#![allow(
    clippy::missing_panics_doc,
    reason = "a check: a panic is the failure report"
)]

use crate::disk::{
    decode_change, decode_due, decode_gone, decode_message, decode_row, decode_state,
    encode_change, encode_due, encode_gone, encode_message, encode_row, encode_state,
};

/// Takes the bytes for each kind of record and for a row.
pub fn records(bytes: &[u8]) {
    if let Ok((message, large, copies)) = decode_message(bytes) {
        let again = decode_message(&encode_message(&message, large, &copies));
        assert_eq!(again, Ok((message.clone(), large, copies)));
        if let Ok(state) = decode_state(bytes, &message) {
            assert_eq!(decode_state(&encode_state(&state), &message), Ok(state));
        }
    }
    if let Ok((message, place)) = decode_row(bytes) {
        let again = decode_row(&encode_row(&message, &place));
        assert_eq!(again, Ok((message, place)));
    }
    if let Ok(change) = decode_change(bytes) {
        assert_eq!(decode_change(&encode_change(&change)), Ok(change));
    }
    if let Ok((at, ids)) = decode_due(bytes) {
        assert_eq!(decode_due(&encode_due(at, &ids)), Ok((at, ids)));
    }
    if let Ok(segments) = decode_gone(bytes) {
        assert_eq!(decode_gone(&encode_gone(&segments)), Ok(segments));
    }
}
