//! Why entries wait, by number.

use std::collections::HashMap;
use std::sync::Arc;

use attempt::Side;

use crate::moves::{Blame, PUT_OFF};
use crate::{Destination, SuspendedSides};

/// Why entries wait, by number, with how many entries have each. Number 0: no reason.
///
/// A number is a reason key together with what says whose move it is. What is counted and listed goes by
/// a [`Kind`], reason and side: what an operator tells apart.
#[derive(Default)]
pub(super) struct Reasons {
    causes: Vec<Cause>,
    numbers: HashMap<(Arc<str>, Option<Blame>), u16>,
    /// Of all causes, by number; the first is that of what has no reason.
    kinds: Vec<(Arc<str>, Option<Side>)>,
}

struct Cause {
    reason: Arc<str>,
    blame: Option<Blame>,
    kind: Kind,
    count: u64,
}

/// Number of a reason and whose move it is.
pub(super) type Kind = u16;

impl Reasons {
    pub(super) fn number(&mut self, reason: Option<&Arc<str>>, blame: Option<Blame>) -> u16 {
        let Some(reason) = reason else { return 0 };
        let key = (Arc::clone(reason), blame);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        // Reason keys and cases are fixed tables; whoever invents 65,535 of them loses the names.
        let Ok(number) = u16::try_from(self.causes.len() + 1) else {
            return 0;
        };
        let kind = self.kind(reason, blame.map(Blame::side));
        self.causes.push(Cause {
            reason: Arc::clone(reason),
            blame,
            kind,
            count: 0,
        });
        self.numbers.insert(key, number);
        number
    }

    /// The number of a reason and side; there are no more of them than of causes, or three.
    fn kind(&mut self, reason: &Arc<str>, side: Option<Side>) -> Kind {
        let mut kinds = self.kinds.iter();
        let found = kinds.position(|(text, its)| *text == *reason && *its == side);
        let at = found.unwrap_or_else(|| {
            self.kinds.push((Arc::clone(reason), side));
            self.kinds.len() - 1
        });
        Kind::try_from(at + 1).unwrap_or_default()
    }

    /// Whether a cause is of this reason.
    pub(super) fn is_of(&self, number: u16, reason: &str) -> bool {
        self.cause(number)
            .is_some_and(|cause| *cause.reason == *reason)
    }

    pub(super) fn count(&mut self, number: u16) {
        if let Some(cause) = self.cause_mut(number) {
            cause.count += 1;
        }
    }

    pub(super) fn forget(&mut self, number: u16) {
        if let Some(cause) = self.cause_mut(number) {
            cause.count -= 1;
        }
    }

    fn cause(&self, number: u16) -> Option<&Cause> {
        self.causes.get(usize::from(number).checked_sub(1)?)
    }

    fn cause_mut(&mut self, number: u16) -> Option<&mut Cause> {
        self.causes.get_mut(usize::from(number).checked_sub(1)?)
    }

    /// What says whose move it is.
    pub(super) fn blame(&self, number: u16) -> Option<Blame> {
        self.cause(number)?.blame
    }

    /// The reason's key, and whose move it is.
    pub(super) fn kind_text(&self, kind: Kind) -> (Option<Arc<str>>, Option<Side>) {
        let at = usize::from(kind).checked_sub(1);
        match at.and_then(|at| self.kinds.get(at)) {
            Some((reason, side)) => (Some(Arc::clone(reason)), *side),
            None => (None, None),
        }
    }

    /// By reason alone.
    pub(super) fn counts(&self) -> Vec<(Arc<str>, u64)> {
        let mut counts: Vec<(Arc<str>, u64)> = Vec::new();
        for cause in self.causes.iter().filter(|cause| cause.count > 0) {
            match counts.iter_mut().find(|(text, _)| *text == cause.reason) {
                Some((_, count)) => *count += cause.count,
                None => counts.push((Arc::clone(&cause.reason), cause.count)),
            }
        }
        counts
    }

    /// By whose move it is, with how many have each; destinations that are left alone are counted as if
    /// they were not.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Side, u64)> {
        let causes = self.causes.iter();
        causes.filter_map(|cause| Some((cause.blame?.side(), cause.count)))
    }

    /// How causes are told as long as these destinations are left alone.
    pub(super) fn as_told<'a>(&mut self, suspended: &'a SuspendedSides) -> AsTold<'a> {
        let put_off: Arc<str> = PUT_OFF.into();
        let sides = [Side::Us, Side::RecipientAdmin, Side::Wait];
        let sides = sides.map(|side| (side, self.kind(&put_off, Some(side))));
        let causes = self.causes.iter();
        let kinds = causes.map(|cause| (cause.kind, *cause.reason == *put_off));
        AsTold {
            kinds: kinds.collect(),
            sides,
            suspended,
        }
    }
}

/// How causes are told.
pub(super) struct AsTold<'a> {
    /// Of each cause, and whether it may be another one where its destination is left alone.
    kinds: Vec<(Kind, bool)>,
    sides: [(Side, Kind); 3],
    suspended: &'a SuspendedSides,
}

impl AsTold<'_> {
    /// As what a cause counts at a destination, and whether that is for what its suspension began with.
    pub(super) fn kind(&self, destination: &Destination, number: u16) -> (Kind, bool) {
        let at = usize::from(number).checked_sub(1);
        let Some((kind, is_put_off)) = at.and_then(|at| self.kinds.get(at)).copied() else {
            return (0, false);
        };
        let side = self.suspended.get(destination).filter(|_| is_put_off);
        let mut sides = self.sides.iter();
        match side.and_then(|side| sides.find(|(of, _)| of == side)) {
            Some((_, kind)) => (*kind, true),
            None => (kind, false),
        }
    }
}
