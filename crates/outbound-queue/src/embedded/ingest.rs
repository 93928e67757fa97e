//! Receiving a message: collected in memory, or streamed to a file of its own when it is large.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use journal::{FailedOperation, Failure, Group, LargeFileWriter, Record, Urgency};
use mail_types::{Envelope, QueueId};
use tokio::sync::oneshot;

use super::records::{NewRecord, Written, message_record};
use super::shared::{Shared, State};
use crate::disk::{Large, encode_message};
use crate::pieces::Pieces;
use crate::state::Stored;
use crate::{Committed, HeldBody, Incoming, Now, QueueError};

/// A message that is being received into an [`EmbeddedStore`](crate::EmbeddedStore).
pub struct EmbeddedIncoming {
    shared: Arc<Shared>,
    id: QueueId,
    pieces: Pieces,
    /// The file of a large message; given away while a thread writes to it.
    file: Option<LargeFileWriter>,
}

impl EmbeddedIncoming {
    pub(super) fn new(shared: Arc<Shared>, id: QueueId, size_hint: Option<u64>) -> Self {
        Self {
            shared,
            id,
            pieces: Pieces::expecting(size_hint),
            file: None,
        }
    }

    /// Writes what is collected to the message's file.
    async fn spill(&mut self) -> Result<(), QueueError> {
        let (id, shared) = (self.id, Arc::clone(&self.shared));
        let (chunks, file) = (self.pieces.take(), self.file.take());
        let reserved = self.pieces.reserved();
        let written = blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => shared.bodies.create_below(&id.short(), reserved)?,
            };
            let pieces: Vec<&[u8]> = chunks.iter().map(|c| &c[..]).collect();
            file.write(&pieces)?;
            Ok(file)
        });
        self.file = Some(written.await.map_err(|error| self.disk_error(&error))?);
        Ok(())
    }

    /// The content made ready: chunks for the journal, or a complete file.
    async fn complete(&mut self) -> Result<(Vec<Bytes>, Option<Large>), QueueError> {
        if self.file.is_none() {
            return Ok((self.pieces.finish()?, None));
        }
        if self.pieces.pending() > 0 {
            self.spill().await?;
        }
        let Some(mut file) = self.file.take() else {
            return Err(QueueError::Misuse("a large message without its file"));
        };
        let top = self.pieces.top()?;
        let filled = blocking(move || file.write_top(&top).map(|()| file));
        let file = filled.await.map_err(|error| self.disk_error(&error))?;
        match blocking(move || file.commit()).await {
            Ok(sum) => {
                let (len, crc) = (sum.bytes, sum.crc32);
                Ok((Vec::new(), Some(Large { len, crc })))
            }
            Err(error) => {
                let error = match self.disk_error(&error) {
                    full @ QueueError::DiskFull(_) => full,
                    // What a failed sync left on the disk is not known: nothing may build on that disk.
                    _ => {
                        let failed = QueueError::Failed(error.to_string());
                        let path = &self.shared.options.directory;
                        let failure = Failure::new(FailedOperation::Sync, path, error);
                        self.shared.journal.fail(failure);
                        failed
                    }
                };
                Err(error)
            }
        }
    }

    fn disk_error(&self, error: &io::Error) -> QueueError {
        let doing = format!("write the content of {}", self.id);
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            return QueueError::DiskFull(format!("{doing}: {error}"));
        }
        QueueError::Io {
            doing,
            cause: error.to_string(),
        }
    }
}

impl Incoming for EmbeddedIncoming {
    fn id(&self) -> QueueId {
        self.id
    }

    fn size(&self) -> u64 {
        self.pieces.size()
    }

    fn reserve(&mut self, octets: usize) {
        self.pieces.reserve(octets);
    }

    fn fill(&mut self, octets: Bytes) {
        self.pieces.fill(octets);
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), QueueError> {
        self.pieces.write(data);
        if self.pieces.pending() >= self.shared.options.large_body {
            self.spill().await?;
        }
        Ok(())
    }

    async fn commit(
        mut self,
        envelope: impl Into<Arc<Envelope>> + Send,
        claim: bool,
        now: Now,
    ) -> Result<Committed, QueueError> {
        let envelope = envelope.into();
        let (shared, id) = (Arc::clone(&self.shared), self.id);
        shared.check_room(0)?;
        let (chunks, large) = self.complete().await?;
        let mut unfinished = Unfinished {
            shared: &shared,
            id,
            large: large.is_some(),
            submitted: false,
            settled: false,
        };
        let stored = Stored::new(envelope, &*shared.options.placement, now.wall);
        let meta = encode_message(&stored, large, &[]);
        let (record, bytes) = message_record(id, meta, chunks.clone());
        let body = HeldBody::new(chunks, &shared.budget).filter(|_| large.is_none());
        let durable = submit(&shared, id, stored, large, body, record, bytes).await?;
        unfinished.submitted = true;
        let durable = durable.await;
        durable.unwrap_or_else(|_| Err(QueueError::Failed("the journal stopped".into())))?;
        unfinished.settled = true;
        let mut state = shared.lock();
        if let Some(hot) = state.core.hot.get_mut(&id) {
            hot.awaited = false;
        }
        let claim = claim && shared.may_claim(&state);
        let leases = state.core.publish(id, claim, Some(now));
        Ok(Committed { id, leases })
    }
}

/// Hands the record to the journal, waiting while there is no room before its writer.
async fn submit(
    shared: &Arc<Shared>,
    id: QueueId,
    stored: Stored,
    large: Option<Large>,
    body: Option<HeldBody>,
    record: Record,
    bytes: u32,
) -> Result<oneshot::Receiver<Result<(), QueueError>>, QueueError> {
    let mut waiting = (stored, body, record);
    let mut has_waited = false;
    loop {
        let is_crowded = {
            let mut state = shared.lock();
            shared.check(&state)?;
            if has_waited {
                still_taken(shared, &state)?;
            }
            has_waited = true;
            let is_crowded = shared.is_crowded(&state);
            if !is_crowded {
                let (stored, body, record) = waiting;
                let (waiter, durable) = oneshot::channel();
                let written = Written {
                    parent: None,
                    messages: vec![NewRecord {
                        id,
                        bytes,
                        kept: None,
                    }],
                    waiter: Some(waiter),
                };
                let group = Group::new(record.clone());
                let sent = shared.done.append(
                    &shared.journal,
                    state.refusals,
                    group,
                    written,
                    Urgency::Now,
                );
                if sent.is_ok() {
                    let hot = state.core.add(id, stored, true);
                    (hot.large, hot.body, hot.in_flight) = (large, body, 1);
                    return Ok(durable);
                }
                waiting = (stored, body, record);
            }
            is_crowded
        };
        if is_crowded {
            until_caught_up(shared).await;
            continue;
        }
        let (room, has_room) = oneshot::channel();
        shared.journal.on_room(move || {
            let _ = room.send(());
        });
        // An error means that the journal is closing: the next round says so.
        let _ = has_room.await;
    }
}

/// Whether mail is still taken, of one that has waited.
fn still_taken(shared: &Shared, state: &State) -> Result<(), QueueError> {
    if shared.is_stopping() {
        return Err(QueueError::Failed("the queue is closing".into()));
    }
    shared.check_room(0)?;
    state.check_recorded()
}

/// Waits until one more message may be in memory. Mail must not run ahead of the index without bound:
/// memory would not suffice, nor the time of the next start.
pub(super) async fn until_caught_up(shared: &Arc<Shared>) {
    // Before the look: the index may catch up right after it.
    let caught_up = shared.caught_up.notified();
    // Once it has failed, or the store stops, nobody writes it any more, and nobody wakes us.
    let waits = {
        let state = shared.lock();
        shared.is_crowded(&state) && shared.check(&state).is_ok() && !shared.is_stopping()
    };
    if waits {
        caught_up.await;
    }
}

/// Cleans up if a commit fails or is given up half-way.
struct Unfinished<'a> {
    shared: &'a Arc<Shared>,
    id: QueueId,
    large: bool,
    submitted: bool,
    settled: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = self.shared.lock();
        match state.core.hot.get_mut(&self.id) {
            // Still on its way: it is in the queue if it arrives, as after a lost reply (RFC 5321 section 6.1
            // allows the duplicate). If it has arrived already, nobody else publishes it.
            Some(hot) if self.submitted && self.shared.journal.health().is_ok() => {
                hot.awaited = false;
                if hot.place.is_some() {
                    state.core.publish(self.id, false, None);
                }
            }
            // The record may have reached the disk though its sync failed, and is then found at the next
            // start: without its content it would be mail that nobody can send. That start sweeps what is left.
            _ if self.submitted && self.shared.journal.health().is_err() => {}
            _ if self.large => state.unlink.push(self.id),
            _ => {}
        }
    }
}

/// Runs file work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the writing thread stopped")))
}
