//! What the queue writes, byte for byte: journal record kinds, their metas, and index rows.
//!
//! All are CBOR arrays with numbered fields: a field that is missing has its default, one that is
//! unknown is skipped, so that versions next to each other read each other's data. The forms are
//! the disk's own and borrow from the values; nothing outside this directory knows them.
//!
//! | kind | key | meta | body |
//! |---|---|---|---|
//! | [`MESSAGE`] | queue id | [`MessageForm`] | the content, unless it has a file of its own |
//! | [`CHANGE`] | queue id | [`ChangeForm`]: one change | |
//! | [`STATE`] | queue id | [`StateForm`]: all of the state, replaces what was before | |
//! | [`GONE`] | queue id | [`GoneForm`]: the message is finished, and which segments have its record | |
//! | [`DUE`] | an id of its own | [`DueForm`]: these messages are due | |

mod change;
mod envelope;
mod row;
mod state;

pub(crate) use row::{Large, Place, decode_row, encode_row};

use mail_types::{QueueId, Timestamp};
use minicbor::{Decode, Encode};
use std::sync::Arc;

use crate::state::{Change, Stored};
use change::ChangeForm;
use envelope::EnvelopeForm;
use state::StateForm;

/// A message.
pub(crate) const MESSAGE: u8 = 1;
/// A change of its state.
pub(crate) const CHANGE: u8 = 2;
/// Its whole state.
pub(crate) const STATE: u8 = 3;
/// It is finished.
pub(crate) const GONE: u8 = 4;
/// Many are due at once.
pub(crate) const DUE: u8 = 5;

/// The bytes are not what this version or one near it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a queue record")]
pub(crate) struct Unreadable;

#[derive(Encode, Decode)]
struct MessageForm<'a> {
    #[b(0)]
    envelope: EnvelopeForm<'a>,
    #[b(1)]
    state: StateForm<'a>,
    #[n(2)]
    large: Option<Large>,
    /// Segments that may still hold earlier copies.
    #[n(3)]
    #[cbor(default)]
    copies: Vec<u32>,
}

#[derive(Encode, Decode)]
struct GoneForm {
    #[n(0)]
    #[cbor(default)]
    segments: Vec<u32>,
}

#[derive(Encode, Decode)]
struct DueForm {
    #[n(0)]
    at: u64,
    #[n(1)]
    ids: Vec<u64>,
}

/// Meta of a [`MESSAGE`] record.
pub(crate) fn encode_message(message: &Stored, large: Option<Large>, copies: &[u32]) -> Vec<u8> {
    encode(MessageForm {
        envelope: EnvelopeForm::of(&message.envelope),
        state: StateForm::of(message),
        large,
        copies: copies.to_vec(),
    })
}

/// Reads [`encode_message`].
pub(crate) fn decode_message(
    bytes: &[u8],
) -> Result<(Stored, Option<Large>, Vec<u32>), Unreadable> {
    let form: MessageForm<'_> = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    let envelope = Arc::new(form.envelope.value()?);
    let stored = form.state.value(envelope)?;
    Ok((stored, form.large, form.copies))
}

/// Meta of a [`CHANGE`] record.
pub(crate) fn encode_change(change: &Change) -> Vec<u8> {
    encode(ChangeForm::of(change))
}

/// Reads [`encode_change`].
pub(crate) fn decode_change(bytes: &[u8]) -> Result<Change, Unreadable> {
    let form: ChangeForm<'_> = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    form.value()
}

/// Meta of a [`STATE`] record.
pub(crate) fn encode_state(message: &Stored) -> Vec<u8> {
    encode(StateForm::of(message))
}

/// Reads [`encode_state`] for a message whose envelope is known; refuses one of other recipients.
pub(crate) fn decode_state(bytes: &[u8], message: &Stored) -> Result<Stored, Unreadable> {
    let form: StateForm<'_> = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    form.value(Arc::clone(&message.envelope))
}

/// Meta of a [`GONE`] record.
pub(crate) fn encode_gone(segments: &[u32]) -> Vec<u8> {
    encode(GoneForm {
        segments: segments.to_vec(),
    })
}

/// Reads [`encode_gone`].
pub(crate) fn decode_gone(bytes: &[u8]) -> Result<Vec<u32>, Unreadable> {
    let form: GoneForm = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    Ok(form.segments)
}

/// Meta of a [`DUE`] record.
pub(crate) fn encode_due(at: Timestamp, ids: &[QueueId]) -> Vec<u8> {
    encode(DueForm {
        at: at.as_millis(),
        ids: ids.iter().map(|id| id.raw()).collect(),
    })
}

/// Reads [`encode_due`].
pub(crate) fn decode_due(bytes: &[u8]) -> Result<(Timestamp, Vec<QueueId>), Unreadable> {
    let form: DueForm = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    let ids = form.ids.into_iter().map(QueueId::from_raw);
    Ok((Timestamp::from_millis(form.at), ids.collect()))
}

#[expect(
    clippy::expect_used,
    reason = "writing to a Vec cannot fail, and the forms have no errors of their own"
)]
fn encode<T: Encode<()>>(form: T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    minicbor::encode(form, &mut bytes).expect("infallible");
    bytes
}

#[cfg(test)]
mod tests;
