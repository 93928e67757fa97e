//! What becomes of what was handed to the journal.

use journal::{AppendError, Appended, Position};
use mail_types::QueueId;

use super::records::{
    Completed, GoneFrom, NewRecord, Parent, ParentKind, Written, explain, gone_of, note_state,
};
use super::shared::State;
use crate::disk::Place;

impl State {
    /// Takes note of what became of a group. Answers what is to be called gone as well: the copy of a
    /// message that was finished while it was on its way.
    #[must_use]
    pub(super) fn settle(&mut self, completed: Completed) -> Option<(QueueId, GoneFrom)> {
        let Completed { group, result } = completed;
        if let Some(parent) = &group.parent
            && let Some(hot) = self.core.hot.get_mut(&parent.id)
        {
            hot.in_flight = hot.in_flight.saturating_sub(1);
        }
        match result {
            Ok(appended) => return self.settle_durable(group, &appended),
            Err(error) => {
                let full = matches!(error, AppendError::Full(_));
                if let AppendError::Full(failure) = &error {
                    self.lack = failure.lack();
                }
                match group.parent.filter(|_| full) {
                    Some(Parent {
                        kind: ParentKind::Copy(_),
                        ..
                    }) => {}
                    Some(Parent {
                        id,
                        kind: ParentKind::Due(record),
                        ..
                    }) => self.keep_due(id, record, group.waiter),
                    Some(parent) => {
                        let gone = gone_of(parent.kind);
                        self.keep(parent.id, gone, group.messages, group.waiter);
                    }
                    None => {
                        for message in group.messages {
                            self.core.hot.remove(&message.id);
                        }
                        if let Some(waiter) = group.waiter {
                            let _ = waiter.send(Err(explain(&error)));
                        }
                    }
                }
            }
        }
        None
    }

    fn settle_durable(
        &mut self,
        group: Written,
        appended: &Appended,
    ) -> Option<(QueueId, GoneFrom)> {
        let mut copied = None;
        let mut positions = appended.positions().iter().copied();
        self.durable_end = self.durable_end.max(appended.end());
        if let Some(parent) = group.parent
            && let Some(position) = positions.next()
        {
            copied = self.settle_parent(parent, position);
        }
        for (message, position) in group.messages.into_iter().zip(positions) {
            let NewRecord { id, bytes, .. } = message;
            let Some(hot) = self.core.hot.get_mut(&id) else {
                continue;
            };
            hot.in_flight = hot.in_flight.saturating_sub(1);
            let place = Place {
                stored: bytes,
                large: hot.large,
                ..Place::at(position)
            };
            self.usage.remember(&place);
            hot.place = Some(place);
            if !hot.awaited {
                self.core.publish(id, false, None);
            }
        }
        copied
    }

    fn settle_parent(&mut self, parent: Parent, position: Position) -> Option<(QueueId, GoneFrom)> {
        let segment = position.segment;
        let place = self.core.hot.get_mut(&parent.id).and_then(|hot| {
            hot.dirty = true;
            hot.place.as_mut()
        });
        match (parent.kind, place) {
            (ParentKind::Change, Some(place)) => {
                note_state(&mut place.states, segment, parent.bytes);
                self.usage.add(segment, parent.bytes);
            }
            (ParentKind::Whole, Some(place)) => {
                for (segment, bytes) in place.states.drain(..) {
                    self.usage.sub(segment, bytes);
                }
                place.states.push((segment, parent.bytes));
                self.usage.add(segment, parent.bytes);
            }
            (ParentKind::Copy(from), Some(place)) if place.position == from => {
                self.usage.forget(place);
                place.states.clear();
                place.copies.push(from.segment);
                place.position = position;
                place.stored = parent.bytes;
                self.usage.add(segment, parent.bytes);
            }
            (ParentKind::Copy(_), Some(place)) => {
                // It lives, and stands elsewhere since an earlier copy: this one goes with it.
                if place.position.segment != segment && !place.copies.contains(&segment) {
                    place.copies.push(segment);
                }
            }
            (ParentKind::Copy(_), None) => {
                // Finished while the copy was on its way: the copy has to be called gone as well.
                let from = GoneFrom {
                    segments: vec![segment],
                    large: false,
                };
                return Some((parent.id, from));
            }
            (ParentKind::Gone(from), _) if from.large => self.unlink.push(parent.id),
            (
                ParentKind::Gone(_) | ParentKind::Change | ParentKind::Whole | ParentKind::Due(_),
                _,
            ) => {}
        }
        None
    }
}
