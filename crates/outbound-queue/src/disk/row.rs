//! A row of the index: a message and where its records stand.

use journal::Position;
use minicbor::{Decode, Encode};

use super::{EnvelopeForm, MessageForm, StateForm, Unreadable, encode};
use crate::state::Stored;

/// Where a message's records stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its newest [`MESSAGE`](super::MESSAGE) record.
    pub(crate) position: Position,
    /// Bytes that it takes there.
    pub(crate) stored: u32,
    /// The content's own file, if it has one.
    pub(crate) large: Option<Large>,
    /// Segments that may still hold earlier copies of the record.
    pub(crate) copies: Vec<u32>,
    /// Bytes of state records that still count, by segment.
    pub(crate) states: Vec<(u32, u32)>,
}

/// Content in a file named after the queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Large {
    /// Its length in octets.
    #[n(0)]
    pub(crate) len: u64,
    /// Its CRC-32 (IEEE).
    #[n(1)]
    pub(crate) crc: u32,
}

#[derive(Encode, Decode)]
struct RowForm<'a> {
    #[b(0)]
    message: MessageForm<'a>,
    /// [`Position::pack`].
    #[n(1)]
    position: u64,
    #[n(2)]
    #[cbor(default)]
    stored: u32,
    #[n(3)]
    #[cbor(default)]
    states: Vec<(u32, u32)>,
}

/// The row of a message.
pub(crate) fn encode_row(message: &Stored, place: &Place) -> Vec<u8> {
    encode(RowForm {
        message: MessageForm {
            envelope: EnvelopeForm::of(&message.envelope),
            state: StateForm::of(message),
            large: place.large,
            copies: place.copies.clone(),
        },
        position: place.position.pack(),
        stored: place.stored,
        states: place.states.clone(),
    })
}

/// Reads [`encode_row`].
pub(crate) fn decode_row(bytes: &[u8]) -> Result<(Stored, Place), Unreadable> {
    let form: RowForm<'_> = minicbor::decode(bytes).map_err(|_| Unreadable)?;
    let envelope = std::sync::Arc::new(form.message.envelope.value()?);
    let place = Place {
        position: Position::unpack(form.position),
        stored: form.stored,
        large: form.message.large,
        copies: form.message.copies,
        states: form.states,
    };
    Ok((form.message.state.value(envelope)?, place))
}
