//! One change on disk.

use mail_types::Timestamp;
use minicbor::{Decode, Encode};

use super::Unreadable;
use super::state::{NoteForm, done_code, done_value};
use crate::state::{Change, Deferral};
use crate::{Destination, Effort};

#[derive(Encode, Decode)]
pub(super) struct ChangeForm<'a> {
    #[n(0)]
    revision: u32,
    #[n(1)]
    #[cbor(default)]
    at: u64,
    /// Recipient and [`done_code`].
    #[n(2)]
    #[cbor(default)]
    done: Vec<(u32, u8)>,
    /// Recipient, next attempt, note.
    #[n(3)]
    #[cbor(default)]
    deferred: Vec<(u32, u64, u32)>,
    #[b(4)]
    #[cbor(default)]
    notes: Vec<PlacedNote<'a>>,
    #[n(5)]
    held: Option<bool>,
    #[n(6)]
    bounce: Option<bool>,
    /// Of all recipients; no longer written.
    #[n(7)]
    warned_of_all: Option<bool>,
    #[n(8)]
    due: Option<u64>,
    #[b(9)]
    #[cbor(default)]
    regrouped: Vec<Regrouped<'a>>,
    #[n(10)]
    put_off: Option<bool>,
    #[n(11)]
    warned: Option<Vec<u32>>,
    /// Recipient that is done, note.
    #[n(12)]
    told: Option<Vec<(u32, u32)>>,
    #[n(13)]
    looked: Option<bool>,
}

#[derive(Encode, Decode)]
struct PlacedNote<'a> {
    #[b(0)]
    destination: &'a str,
    #[b(1)]
    note: NoteForm<'a>,
}

#[derive(Encode, Decode)]
struct Regrouped<'a> {
    #[n(0)]
    recipient: u32,
    #[b(1)]
    destination: &'a str,
}

impl<'a> ChangeForm<'a> {
    pub(super) fn of(c: &'a Change) -> Self {
        Self {
            revision: c.revision,
            at: c.at.as_millis(),
            done: c.done.iter().map(|(r, d)| (*r, done_code(*d))).collect(),
            deferred: c
                .deferred
                .iter()
                .map(|d| (d.recipient, d.next.as_millis(), d.note))
                .collect(),
            notes: c
                .notes
                .iter()
                .map(|(destination, note)| PlacedNote {
                    destination: destination.as_str(),
                    note: NoteForm::of(note),
                })
                .collect(),
            held: c.held,
            bounce: c.bounce,
            warned_of_all: c.warned_of_all.then_some(true),
            due: c.due.map(Timestamp::as_millis),
            put_off: (c.effort == Effort::PutOff).then_some(true),
            looked: (c.effort == Effort::Look).then_some(true),
            warned: (!c.warned.is_empty()).then(|| c.warned.clone()),
            told: (!c.told.is_empty()).then(|| c.told.clone()),
            regrouped: c
                .regrouped
                .iter()
                .map(|(recipient, destination)| Regrouped {
                    recipient: *recipient,
                    destination: destination.as_str(),
                })
                .collect(),
        }
    }

    pub(super) fn value(self) -> Result<Change, Unreadable> {
        // Revisions begin at 1: a zero would never be applied.
        if self.revision == 0 {
            return Err(Unreadable);
        }
        Ok(Change {
            revision: self.revision,
            at: Timestamp::from_millis(self.at),
            done: self
                .done
                .into_iter()
                .map(|(r, d)| (r, done_value(d)))
                .collect(),
            deferred: self
                .deferred
                .into_iter()
                .map(|(recipient, next, note)| Deferral {
                    recipient,
                    next: Timestamp::from_millis(next),
                    note,
                })
                .collect(),
            notes: self
                .notes
                .into_iter()
                .map(|n| (Destination::new(n.destination), n.note.value()))
                .collect(),
            held: self.held,
            bounce: self.bounce,
            warned_of_all: self.warned_of_all.unwrap_or(false),
            warned: self.warned.unwrap_or_default(),
            told: self.told.unwrap_or_default(),
            due: self.due.map(Timestamp::from_millis),
            effort: match (self.put_off, self.looked) {
                (Some(true), _) => Effort::PutOff,
                (_, Some(true)) => Effort::Look,
                _ => Effort::Attempt,
            },
            regrouped: self
                .regrouped
                .into_iter()
                .map(|g| (g.recipient, Destination::new(g.destination)))
                .collect(),
        })
    }
}
