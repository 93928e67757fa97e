//! Any octets as a record or row of the queue: a disk that lies must not end the relay, and what is read
//! is written so that it is read the same.

/// The input as each kind of record, and as a row.
pub(super) fn check(input: &[u8]) {
    outbound_queue::fuzzing::records(input);
}
