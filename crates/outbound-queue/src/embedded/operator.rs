//! What operators ask: listing, showing, editing; and reading content.

use std::sync::Arc;

use journal::{LargeFileSum, ReadError, Urgency};
use mail_types::QueueId;
use tokio::sync::oneshot;

use super::shared::{Shared, State};
use crate::body::is_damage;
use crate::disk::Place;
use crate::schedule::Key;
use crate::state::Stored;
use crate::{
    Body, Cursor, Edit, EditError, Edited, Filter, MessageView, Now, Page, QueueError, Target,
};

/// Runs work that may read the disk off the runtime's own threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, QueueError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| QueueError::Failed("a thread of the queue panicked".into()))
}

pub(super) fn show(shared: &Shared, id: QueueId, now: Now) -> Result<MessageView, QueueError> {
    let mut state = shared.lock();
    find(shared, &mut state, id)?;
    let hot = state.core.hot.get(&id).ok_or(QueueError::NotFound(id))?;
    Ok(state.core.view(id, &hot.message, now))
}

/// A page of what matches: short of `limit`, or empty, and with a place to go on from, if that many
/// had to be looked at that the rest is better asked for anew.
pub(super) fn list(
    shared: &Shared,
    filter: &Filter,
    mut from: Key,
    limit: usize,
    now: Now,
) -> Result<Page, QueueError> {
    let mut page = Page::default();
    let mut misses = 0;
    // Rows cost: if most of them match, a page needs no more than it shows.
    let mut size = limit.saturating_add(1).min(PAGE);
    loop {
        let (keys, mut rows) = entries(shared, filter, from, size)?;
        let state = shared.lock();
        for (key, message) in &mut rows {
            if !state.core.hot.contains_key(&key.1) {
                state.retried.apply(key.1, Arc::make_mut(message));
            }
            if message.first_due(filter) != key.0 || !state.core.is_live(key.1) {
                continue;
            }
            if !state.core.matches(filter, key.1, message, now) {
                misses += 1;
                continue;
            }
            if page.messages.len() == limit {
                page.next = Some(Cursor::at(*key));
                return Ok(page);
            }
            page.messages.push(state.core.view(key.1, message, now));
        }
        match keys.last() {
            Some(last) if keys.len() >= size => from = Cursor::after(*last),
            _ => return Ok(page),
        }
        if misses >= MOST_MISSES {
            page.next = Some(Cursor::at(from));
            return Ok(page);
        }
        size = PAGE;
    }
}

/// The next entries of the listing with their messages, read without holding up others.
#[expect(clippy::type_complexity, reason = "used once, right above")]
fn entries(
    shared: &Shared,
    filter: &Filter,
    from: Key,
    size: usize,
) -> Result<(Vec<Key>, Vec<(Key, Arc<Stored>)>), QueueError> {
    let (keys, hot) = {
        let state = shared.lock();
        shared.check(&state)?;
        if state.recovering {
            return Err(QueueError::Rebuilding);
        }
        let keys = state.core.listing(filter, from, size);
        let message = |key: &Key| Some(Arc::clone(&state.core.hot.get(&key.1)?.message));
        let hot: Vec<_> = keys.iter().map(message).collect();
        (keys, hot)
    };
    let mut rows = Vec::with_capacity(keys.len());
    for (key, message) in keys.iter().zip(hot) {
        match message {
            Some(message) => rows.push((*key, message)),
            None => match shared.load(key.1) {
                Ok((message, _)) => rows.push((*key, Arc::new(message))),
                // It may have been finished meanwhile.
                Err(cause) => {
                    let mut state = shared.lock();
                    if state.core.is_live(key.1) && !state.core.hot.contains_key(&key.1) {
                        return Err(shared.fail_index(&mut state, &cause));
                    }
                }
            },
        }
    }
    Ok((keys, rows))
}

/// Edits page by page; each page is durable before the next is begun.
pub(super) async fn edit(
    shared: &Arc<Shared>,
    target: &Target,
    edit: Edit,
    dry_run: bool,
    now: Now,
) -> Result<Edited, EditError> {
    let mut done = Edited::default();
    match edit_all(shared, target, edit, dry_run, now, &mut done).await {
        Ok(()) => Ok(done),
        Err(cause) => Err(EditError { done, cause }),
    }
}

async fn edit_all(
    shared: &Arc<Shared>,
    target: &Target,
    edit: Edit,
    dry_run: bool,
    now: Now,
    edited: &mut Edited,
) -> Result<(), QueueError> {
    if let (Target::Filter(filter), Edit::Retry) = (target, edit)
        && filter.is_by_destination()
        && super::retry::retry(shared, filter, dry_run, now, edited).await?
    {
        return Ok(());
    }
    let ids = match target {
        Target::Ids(ids) => ids.clone(),
        Target::Filter(filter) => matching(shared, filter, now).await?,
    };
    for page in ids.chunks(PAGE) {
        let before = edited.unknown.len();
        edit_some(shared, page, edit, dry_run, now, edited).await?;
        if matches!(target, Target::Filter(_)) {
            // What a filter found and is gone now was finished in between.
            edited.unknown.truncate(before);
        }
    }
    Ok(())
}

/// Edits a page, and waits for the disk; counted is what it has confirmed, also before a failure.
pub(super) async fn edit_some(
    shared: &Arc<Shared>,
    ids: &[QueueId],
    edit: Edit,
    dry_run: bool,
    now: Now,
    edited: &mut Edited,
) -> Result<(), QueueError> {
    let (shared, ids) = (Arc::clone(shared), ids.to_vec());
    let page = blocking(move || edit_page(&shared, &ids, edit, dry_run, now)).await?;
    edited.matched += page.edited.matched;
    edited.changed += page.edited.changed;
    edited.unknown.extend(page.edited.unknown);
    let mut end = page.end;
    for unconfirmed in page.waiting {
        let answer = unconfirmed.durable.await;
        let stopped = || Err(QueueError::Failed("the journal stopped".into()));
        match answer.unwrap_or_else(|_| stopped()) {
            Ok(()) => edited.note(
                edit,
                unconfirmed.id,
                &unconfirmed.message,
                unconfirmed.under_way,
            ),
            Err(cause) => end = end.and(Err(cause)),
        }
    }
    end
}

/// What became of a page.
struct EditedPage {
    edited: Edited,
    waiting: Vec<Unconfirmed>,
    /// An error ended it early.
    end: Result<(), QueueError>,
}

/// A change that the disk has not confirmed yet.
struct Unconfirmed {
    id: QueueId,
    /// As it was before.
    message: Arc<Stored>,
    /// It was being delivered.
    under_way: bool,
    durable: oneshot::Receiver<Result<(), QueueError>>,
}

fn edit_page(shared: &Shared, ids: &[QueueId], edit: Edit, dry_run: bool, now: Now) -> EditedPage {
    let mut page = EditedPage {
        edited: Edited::default(),
        waiting: Vec::new(),
        end: Ok(()),
    };
    let mut each = ids.iter();
    page.end = each.try_for_each(|id| match dry_run {
        true => page.look(shared, *id, edit, now),
        false => page.edit(shared, *id, edit, now),
    });
    page
}

impl EditedPage {
    fn look(
        &mut self,
        shared: &Shared,
        id: QueueId,
        edit: Edit,
        now: Now,
    ) -> Result<(), QueueError> {
        let mut state = shared.lock();
        shared.check(&state)?;
        let Some(message) = shared.look_at(&mut state, id)? else {
            if state.recovering {
                return Err(QueueError::Rebuilding);
            }
            self.edited.unknown.push(id);
            return Ok(());
        };
        self.edited.matched += 1;
        let change = state.core.edit_change(&message, edit, now);
        self.edited.changed += u64::from(change.is_some());
        Ok(())
    }

    fn edit(
        &mut self,
        shared: &Shared,
        id: QueueId,
        edit: Edit,
        now: Now,
    ) -> Result<(), QueueError> {
        let mut state = shared.lock();
        match find(shared, &mut state, id) {
            Ok(()) => self.edited.matched += 1,
            Err(QueueError::NotFound(_)) => {
                self.edited.unknown.push(id);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let message = state.core.hot.get(&id).map(|hot| Arc::clone(&hot.message));
        let under_way = state.core.leases.is_under_way(id);
        if let Some((step, message)) = state.core.edit(id, edit, now).zip(message) {
            let (waiter, durable) = oneshot::channel();
            shared.submit(&mut state, &step, Vec::new(), Some(waiter), Urgency::Now);
            self.waiting.push(Unconfirmed {
                id,
                message,
                under_way,
                durable,
            });
        }
        Ok(())
    }
}

/// The ids of all that match, before anything is changed.
async fn matching(
    shared: &Arc<Shared>,
    filter: &Filter,
    now: Now,
) -> Result<Vec<QueueId>, QueueError> {
    let (shared, filter) = (Arc::clone(shared), filter.clone());
    blocking(move || {
        let (mut ids, mut from) = (Vec::new(), Cursor::key(None));
        loop {
            let page = list(&shared, &filter, from, PAGE, now)?;
            ids.extend(page.messages.iter().map(|m| m.id));
            match page.next {
                Some(next) => from = Cursor::key(Some(&next)),
                None => return Ok(ids),
            }
        }
    })
    .await?
}

/// Brings a message into memory.
fn find(shared: &Shared, state: &mut State, id: QueueId) -> Result<(), QueueError> {
    shared.check(state)?;
    match shared.ensure_hot(state, id)? {
        true => Ok(()),
        false if state.recovering => Err(QueueError::Rebuilding),
        false => Err(QueueError::NotFound(id)),
    }
}

pub(super) async fn open_body(shared: Arc<Shared>, id: QueueId) -> Result<Body, QueueError> {
    {
        let state = shared.lock();
        let held = state.core.hot.get(&id).and_then(|hot| hot.body.clone());
        if let Some(held) = held.filter(|_| state.core.is_live(id)) {
            return Ok(Body::held(id, held));
        }
    }
    blocking(move || {
        let fault = |cause: String, damaged: bool| QueueError::Body { id, cause, damaged };
        for _ in 0..TRIES {
            let place = place_of(&shared, id)?;
            if let Some(large) = place.large {
                let sum = LargeFileSum {
                    bytes: large.len,
                    crc32: large.crc,
                };
                let reader = shared.bodies.read(&id.short(), Some(sum));
                let reader = reader.map_err(|e| fault(e.to_string(), is_damage(&e)))?;
                return Ok(Body::disk(id, large.len, Box::new(reader)));
            }
            match shared.journal.open_body(place.position) {
                Ok(reader) => {
                    let size = u64::from(reader.body_len());
                    return Ok(Body::disk(id, size, Box::new(reader)));
                }
                // Moved to another segment in between: look again.
                Err(ReadError::SegmentGone(_)) => {}
                Err(error) => {
                    let is_damaged = !matches!(error, ReadError::Io { .. });
                    return Err(fault(error.to_string(), is_damaged));
                }
            }
        }
        Err(fault("its segment is gone".into(), true))
    })
    .await?
}

fn place_of(shared: &Shared, id: QueueId) -> Result<Place, QueueError> {
    let mut state = shared.lock();
    find(shared, &mut state, id)?;
    let place = state.core.hot.get(&id).and_then(|hot| hot.place.clone());
    place.ok_or(QueueError::NotFound(id))
}

/// Entries looked at, or messages edited, together.
const PAGE: usize = 512;
/// Messages that a listing looks at in vain before it answers: only they themselves say whether they
/// match, and whoever asks hears of it soon and says whether to go on.
const MOST_MISSES: usize = 2 * PAGE;
const TRIES: usize = 4;
