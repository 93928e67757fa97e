//! The memory of answers.

use dns_health::Way;
use hickory_resolver::{ResponseCache, TtlConfig};
use parking_lot::Mutex;

use crate::config::Config;

/// How answers are remembered: how many, and for how long.
pub(crate) struct Kept {
    size: u64,
    ttls: TtlConfig,
}

impl Kept {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            size: config.cache_size,
            ttls: Config::ttls(),
        }
    }

    pub(crate) fn memory(&self) -> Option<ResponseCache> {
        (self.size > 0).then(|| ResponseCache::new(self.size, self.ttls.clone()))
    }
}

/// Answers by the way on which they came: one that nobody has validated says nothing about DNSSEC once that is
/// back. Two of them, and a new one for each spell, rather than one that is emptied: what is under way then would be
/// remembered afterwards.
pub(crate) struct Memories {
    /// With the spell that it is of.
    validated: Mutex<(u64, Option<ResponseCache>)>,
    plain: Mutex<Option<ResponseCache>>,
    kept: Kept,
}

impl Memories {
    pub(crate) fn new(kept: Kept) -> Self {
        Self {
            validated: Mutex::new((0, kept.memory())),
            plain: Mutex::new(kept.memory()),
            kept,
        }
    }

    /// Others are asked now, who may know better. What is under way still goes into the memory of before.
    pub(crate) fn forget(&self) {
        self.validated.lock().1 = self.kept.memory();
        *self.plain.lock() = self.kept.memory();
    }

    pub(crate) fn of(&self, way: &Way, spell: u64) -> Option<ResponseCache> {
        match way {
            // What was proven stays so while nothing new can be.
            Way::Validated | Way::Barred(_) => {
                let mut validated = self.validated.lock();
                if validated.0 < spell {
                    *validated = (spell, self.kept.memory());
                }
                validated.1.clone()
            }
            Way::Plain => self.plain.lock().clone(),
        }
    }
}
