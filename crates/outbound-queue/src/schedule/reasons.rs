//! Reason keys by number.

use std::collections::HashMap;
use std::sync::Arc;

/// Reason keys by number, with how many entries have each. Number 0: none.
#[derive(Default)]
pub(super) struct Reasons {
    texts: Vec<(Arc<str>, u64)>,
    numbers: HashMap<Arc<str>, u16>,
}

impl Reasons {
    pub(super) fn number(&mut self, reason: Option<&Arc<str>>) -> u16 {
        let Some(reason) = reason else { return 0 };
        if let Some(number) = self.numbers.get(reason) {
            return *number;
        }
        // Reason keys are a fixed table; whoever invents 65,535 of them loses the names.
        let Ok(number) = u16::try_from(self.texts.len() + 1) else {
            return 0;
        };
        self.texts.push((Arc::clone(reason), 0));
        self.numbers.insert(Arc::clone(reason), number);
        number
    }

    /// The number of a reason that some entry has or had; `None` if none has.
    pub(super) fn known(&self, reason: &str) -> Option<u16> {
        self.numbers.get(reason).copied()
    }

    pub(super) fn count(&mut self, number: u16) {
        if let Some(slot) = self.slot(number) {
            slot.1 += 1;
        }
    }

    pub(super) fn forget(&mut self, number: u16) {
        if let Some(slot) = self.slot(number) {
            slot.1 -= 1;
        }
    }

    fn slot(&mut self, number: u16) -> Option<&mut (Arc<str>, u64)> {
        self.texts.get_mut(usize::from(number).checked_sub(1)?)
    }

    pub(super) fn text(&self, number: u16) -> Option<Arc<str>> {
        let (text, _) = self.texts.get(usize::from(number).checked_sub(1)?)?;
        Some(Arc::clone(text))
    }

    pub(super) fn counts(&self) -> Vec<(Arc<str>, u64)> {
        self.texts.iter().filter(|t| t.1 > 0).cloned().collect()
    }
}
