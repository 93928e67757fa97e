//! Puts journal and index together at start, and says what neither can tell any more.
//!
//! Of all rows about a thing the highest number counts, wherever it was read. What is wrong with the
//! journal is a [`Wound`]; it is healed if the index surely has what was lost:
//!
//! | wound | healed if |
//! |---|---|
//! | bytes before what the index contains | the index is complete |
//! | bytes behind that | never: perhaps the index never saw it |
//! | the text of one policy | that policy, or a later one of the domain, is in the index |
//! | the journal ends before what the index contains | the index is complete |
//! | all or the beginning of the journal is gone | the index is complete, and was closed in order |
//!
//! Invariant: a wound that is not healed keeps the store closed, unless the operator accepts the loss.

use std::sync::Arc;

use journal::Position;
use mail_types::Domain;

use crate::discovery::LocalRules;
use crate::index::{Class, Contents, Edit, Edits, Item, State};
use crate::mirror;
use crate::row::{self, Decoded, Row};
use crate::store::{Loaded, LoadedDomain};

/// Something that the journal once had and has no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wound {
    pub(crate) extent: Extent,
    /// For the operator.
    pub(crate) what: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Records that end here at the latest.
    Before(Position),
    /// The text of the policy with this number.
    Text(Domain, u64),
    /// All of it, or the oldest segments.
    Gone,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Mended {
    /// The first wound that is not healed.
    pub(crate) open: Option<Wound>,
    /// The first wound that is, or that the index knew more without any wound to be seen.
    pub(crate) healed: Option<String>,
    /// Policies and rules that only the index had.
    pub(crate) taken: u64,
    /// What the index lacks.
    pub(crate) edits: Edits,
}

/// Adds to `loaded` what only the index has.
pub(crate) fn mend(
    loaded: &mut Loaded,
    mut wounds: Vec<Wound>,
    journal_end: Position,
    index: Option<&Contents>,
) -> Mended {
    let whole = index.and_then(|c| c.state.filter(|_| c.trouble.is_none()));
    if let Some(state) = index.and_then(|c| c.state)
        && journal_end < state.applied
    {
        let what = format!(
            "its end is gone: it was on disk up to {} and ends at {journal_end}",
            state.applied
        );
        let extent = Extent::Before(state.applied);
        wounds.push(Wound { extent, what });
    }
    let mut mended = Mended::default();
    let mut edits = wanted(loaded);
    for item in index.iter().flat_map(|c| &c.items) {
        mended.taken += u64::from(take(loaded, &mut edits, item));
    }
    mended.edits = edits;
    for wound in wounds {
        if is_healed(&wound.extent, whole.as_ref(), loaded) {
            mended.healed.get_or_insert(wound.what);
        } else {
            mended.open.get_or_insert(wound);
        }
    }
    if mended.taken > 0 {
        let what = || "the index knew more than the journal".to_owned();
        mended.healed.get_or_insert_with(what);
    }
    mended
}

fn is_healed(extent: &Extent, whole: Option<&State>, loaded: &Loaded) -> bool {
    match extent {
        Extent::Before(end) => whole.is_some_and(|state| *end <= state.applied),
        Extent::Text(domain, seq) => loaded.domains.get(domain).is_some_and(|one| {
            let known = one.policy.as_ref().map_or(0, |(seq, _)| *seq);
            known.max(one.forgotten) >= *seq
        }),
        Extent::Gone => whole.is_some_and(|state| state.closed),
    }
}

/// Everything that the index ought to have.
pub(crate) fn wanted(loaded: &Loaded) -> Edits {
    let mut edits = Edits::new();
    for (seq, row) in loaded.rows() {
        mirror::put(&mut edits, seq, row);
    }
    for (domain, one) in &loaded.domains {
        if one.forgotten > 0 {
            mirror::put(&mut edits, one.forgotten, Row::Forgotten(domain.clone()));
        }
        if let (seq @ 1.., None) = one.contact {
            mirror::put(&mut edits, seq, Row::Contact(domain.clone(), None));
        }
        if let (seq @ 1.., None) = &one.local {
            let rules = LocalRules::default();
            mirror::put(&mut edits, *seq, Row::Local(domain.clone(), rules));
        }
    }
    edits
}

/// Takes what the index knows better; says whether it was worth anything. What the index has
/// already need not be written.
fn take(loaded: &mut Loaded, edits: &mut Edits, item: &Item) -> bool {
    let Ok(Some((domain, seq, decoded))) = row::decode(item.kind, &item.meta) else {
        return false;
    };
    loaded.seq = loaded.seq.max(seq);
    let thing = (Class::of_kind(item.kind), domain.clone());
    if let Some(Edit::Put(wanted, _)) = edits.get(&thing)
        && *wanted >= seq
    {
        if *wanted == seq {
            edits.remove(&thing);
        }
        return false;
    }
    let one = loaded.domains.entry(domain.clone()).or_default();
    let better = match decoded {
        Decoded::Policy(meta) => {
            let Ok(policy) = row::restore(&domain, &meta, &item.text) else {
                return false;
            };
            one.policy = Some((seq, Arc::new(policy)));
            true
        }
        // The index keeps no renewals: it writes the policy anew.
        Decoded::Renewed(_) => false,
        Decoded::Forgotten => {
            one.forgotten = seq;
            one.policy.take().is_some()
        }
        Decoded::Contact(contact) => {
            one.contact = (seq, contact);
            false
        }
        Decoded::Local(rules) => {
            let before = one.local.1.take();
            let rules = (rules != LocalRules::default()).then_some(rules);
            let changed = before != rules;
            one.local = (seq, rules);
            changed
        }
    };
    edits.remove(&thing);
    if loaded
        .domains
        .get(&domain)
        .is_some_and(LoadedDomain::is_empty)
    {
        loaded.domains.remove(&domain);
    }
    better
}
