//! Suspended destinations.

use std::collections::HashMap;

use mail_types::Timestamp;

use super::CROWDED;
use crate::Destination;

/// Suspended destinations, some of which may not be any more.
#[derive(Default)]
pub(super) struct Suspensions {
    until: HashMap<Destination, Timestamp>,
    /// With so many those that are over are forgotten.
    crowded: usize,
}

impl Suspensions {
    pub(super) fn set(
        &mut self,
        destination: &Destination,
        until: Option<Timestamp>,
        now: Timestamp,
    ) {
        match until {
            Some(until) => drop(self.until.insert(destination.clone(), until)),
            None => drop(self.until.remove(destination)),
        }
        if self.until.len() > self.crowded {
            self.until.retain(|_, until| *until > now);
            self.crowded = self.until.len().saturating_mul(2).max(CROWDED);
        }
    }

    pub(super) fn until(&self, destination: &Destination) -> Option<Timestamp> {
        self.until.get(destination).copied()
    }
}
