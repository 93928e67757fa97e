//! Values of fixed tables as the disk has them: by their keys.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use attempt::{Case, DemandedBy, Reason};

/// A value of one of our tables, or the key that a newer version of this program has written, as it came.
///
/// Each key is in one form only: what the table has is never kept as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keyed<T>(Kept<T>);

/// Two words, and no more in an `Option`: notes have several of them, recipients one each.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Kept<T> {
    Known(T),
    Unknown(Arc<Box<str>>),
}

/// What is kept by its key.
pub trait Key: Copy {
    /// Its key on disk.
    fn key(self) -> &'static str;
    /// The one with this key.
    fn of_key(key: &str) -> Option<Self>;
}

impl<T: Key> Keyed<T> {
    /// The value, or the key if the table does not have it.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self(match T::of_key(key) {
            Some(value) => Kept::Known(value),
            None => Kept::Unknown(Arc::new(key.into())),
        })
    }

    /// The value, if this version knows it.
    #[must_use]
    pub const fn known(&self) -> Option<T> {
        match &self.0 {
            Kept::Known(value) => Some(*value),
            Kept::Unknown(_) => None,
        }
    }

    /// Its key, as the disk has it.
    #[must_use]
    pub fn key(&self) -> &str {
        match &self.0 {
            Kept::Known(value) => value.key(),
            Kept::Unknown(key) => key,
        }
    }
}

impl<T: Key + Default> Keyed<T> {
    /// The value; the usual one for what this version does not know.
    #[must_use]
    pub fn or_usual(&self) -> T {
        self.known().unwrap_or_default()
    }
}

impl<T: Default> Default for Keyed<T> {
    fn default() -> Self {
        T::default().into()
    }
}

impl<T> From<T> for Keyed<T> {
    fn from(value: T) -> Self {
        Self(Kept::Known(value))
    }
}

impl<T: Key> fmt::Debug for Keyed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.key(), f)
    }
}

impl<T: Key> fmt::Display for Keyed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// By key, as lists have them.
impl<T: Key + Eq> Ord for Keyed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl<T: Key + Eq> PartialOrd for Keyed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key for Reason {
    fn key(self) -> &'static str {
        self.key()
    }

    fn of_key(key: &str) -> Option<Self> {
        Self::from_key(key)
    }
}

impl Key for Case {
    fn key(self) -> &'static str {
        self.key()
    }

    fn of_key(key: &str) -> Option<Self> {
        Some(Self::from_key(key)).filter(|case| case.key() == key)
    }
}

/// The usual one has an empty key here.
impl Key for DemandedBy {
    fn key(self) -> &'static str {
        match self {
            Self::Recipient => "",
            by => by.key(),
        }
    }

    fn of_key(key: &str) -> Option<Self> {
        Some(Self::from_key(key)).filter(|by| key.is_empty() || by.key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_version_wrote_is_kept_as_it_came() {
        for key in ["cert-expired", "of-a-newer-version", "", "ä"] {
            assert_eq!(Keyed::<Reason>::from_key(key).key(), key);
            assert_eq!(Keyed::<Case>::from_key(key).key(), key);
            assert_eq!(Keyed::<DemandedBy>::from_key(key).key(), key);
        }
        let reason = Keyed::from_key("cert-expired");
        assert_eq!(reason.known(), Some(Reason::CertExpired));
        assert_eq!(reason, Reason::CertExpired.into());
        assert_eq!(Keyed::<Reason>::from_key("newer").known(), None);
        for case in Case::ALL {
            assert_eq!(Keyed::from_key(case.key()), Keyed::from(case));
        }
        let by = |key| Keyed::<DemandedBy>::from_key(key).or_usual();
        assert_eq!(
            [by("rule"), by("newer")],
            [DemandedBy::Rule, DemandedBy::Recipient]
        );
        // As the first version wrote it.
        let usual = Keyed::<DemandedBy>::from_key("recipient");
        assert_eq!((usual.key(), &usual), ("", &Keyed::default()));
    }

    #[test]
    fn keys_cost_no_more_than_their_text_did() {
        let text = size_of::<Arc<str>>();
        assert_eq!(size_of::<Option<Keyed<Reason>>>(), text);
        assert_eq!(size_of::<Keyed<Case>>(), text);
        assert_eq!(size_of::<Keyed<DemandedBy>>(), text);
    }
}
