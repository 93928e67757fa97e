//! Why entries wait, by number.

use std::collections::HashMap;

use attempt::{Reason, Side};

use crate::moves::{Blame, goes_by_suspension, side_as_told};
use crate::{Destination, Keyed, SuspendedSides};

/// Why entries wait, by number, with how many entries have each. Number 0: no reason, and not held.
///
/// A number is a reason key together with what says whose move it is, and whether it is held. What is counted
/// and listed goes by a [`Kind`], reason, side and hold: what an operator tells apart.
#[derive(Default)]
pub(super) struct Reasons {
    causes: Vec<Cause>,
    numbers: HashMap<Told, u16>,
    /// Of all causes, by number; the first is that of what has no reason.
    kinds: Vec<KindText>,
}

struct Cause {
    reason: Option<Keyed<Reason>>,
    blame: Option<Blame>,
    held: bool,
    kind: Kind,
    count: u64,
}

/// A reason, what says whose move it is, and whether it is held.
type Told = (Option<Keyed<Reason>>, Option<Blame>, bool);

/// Number of a reason, whose move it is, and whether it is held.
pub(super) type Kind = u16;

/// What a [`Kind`] stands for.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct KindText {
    pub(super) reason: Option<Keyed<Reason>>,
    pub(super) side: Option<Side>,
    pub(super) held: bool,
}

impl Reasons {
    pub(super) fn number(
        &mut self,
        reason: Option<&Keyed<Reason>>,
        blame: Option<Blame>,
        held: bool,
    ) -> u16 {
        if reason.is_none() && !held {
            return 0;
        }
        let reason = reason.cloned();
        let key = (reason.clone(), blame, held);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        // Reason keys and cases are fixed tables; whoever invents 65,535 of them loses the names.
        let Ok(number) = u16::try_from(self.causes.len() + 1) else {
            return 0;
        };
        let kind = self.kind(&KindText {
            side: side_as_told(reason.as_ref(), held, blame.map(Blame::side), None),
            reason: reason.clone(),
            held,
        });
        self.causes.push(Cause {
            reason,
            blame,
            held,
            kind,
            count: 0,
        });
        self.numbers.insert(key, number);
        number
    }

    /// The number of a kind; there are no more of them than of causes, or three.
    fn kind(&mut self, text: &KindText) -> Kind {
        let found = self.kinds.iter().position(|kind| kind == text);
        let at = found.unwrap_or_else(|| {
            self.kinds.push(text.clone());
            self.kinds.len() - 1
        });
        Kind::try_from(at + 1).unwrap_or_default()
    }

    /// Whether a cause is of this reason.
    pub(super) fn is_of(&self, number: u16, reason: &Keyed<Reason>) -> bool {
        self.cause(number)
            .is_some_and(|cause| cause.reason.as_ref() == Some(reason))
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

    /// The reason's key, whose move it is, and whether it is held.
    pub(super) fn kind_text(&self, kind: Kind) -> KindText {
        let at = usize::from(kind).checked_sub(1);
        let text = at.and_then(|at| self.kinds.get(at));
        text.cloned().unwrap_or_default()
    }

    /// By reason alone.
    pub(super) fn counts(&self) -> Vec<(Keyed<Reason>, u64)> {
        let mut counts: Vec<(Keyed<Reason>, u64)> = Vec::new();
        for cause in self.causes.iter().filter(|cause| cause.count > 0) {
            let Some(reason) = &cause.reason else {
                continue;
            };
            match counts.iter_mut().find(|(text, _)| text == reason) {
                Some((_, count)) => *count += cause.count,
                None => counts.push((reason.clone(), cause.count)),
            }
        }
        counts
    }

    /// By whose move it is, with how many have each; destinations that are left alone are counted as if
    /// they were not.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Side, u64)> {
        let causes = self.causes.iter();
        causes.filter_map(|cause| Some((cause.side(None)?, cause.count)))
    }

    /// Whose move it is for what has this number: as long as its destination is not left alone, and while
    /// it is for something that is `suspended`'s move.
    pub(super) fn sides_of(&self, number: u16, suspended: Side) -> [Option<Side>; 2] {
        let of = |suspended| self.cause(number).and_then(|cause| cause.side(suspended));
        [of(None), of(Some(suspended))]
    }

    /// How causes are told as long as these destinations are left alone.
    pub(super) fn as_told<'a>(&mut self, suspended: &'a SuspendedSides) -> AsTold<'a> {
        let put_off = Some(Reason::DestinationSuspended.into());
        let sides = Side::ALL.map(|side| {
            let text = KindText {
                reason: put_off.clone(),
                side: Some(side),
                held: false,
            };
            (side, self.kind(&text))
        });
        let causes = self.causes.iter();
        let kinds = causes.map(|cause| {
            let is_put_off = goes_by_suspension(cause.reason.as_ref(), cause.held);
            (cause.kind, is_put_off)
        });
        AsTold {
            kinds: kinds.collect(),
            sides,
            suspended,
        }
    }
}

impl Cause {
    /// Whose move it is; `suspended` that of what its destination is left alone for.
    fn side(&self, suspended: Option<Side>) -> Option<Side> {
        let usual = self.blame.map(Blame::side);
        side_as_told(self.reason.as_ref(), self.held, usual, suspended)
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
