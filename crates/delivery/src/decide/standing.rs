//! What DNS says of a host beside its addresses: who vouches for its name, and its TLSA records.
//! Looked up once for the plan (`planner/tlsa.rs`); what follows from it is decided in [`demand`](super::demand).

use std::sync::Arc;

use dane::HostRecords;
use mail_types::{HostName, Security};

/// What demands are held against, beside a host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who says that this host takes the domain's mail.
    pub vouched: Vouched,
    /// Its TLSA records.
    pub dane: HostDane,
}

impl Standing {
    /// Nobody vouches for it, and it has no TLSA records.
    pub const NONE: Self = Self {
        vouched: Vouched::Nobody,
        dane: HostDane::Absent,
    };
}

/// Who says that a host takes the domain's mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vouched {
    /// DNS, unsigned: anybody on the way may have said it.
    #[default]
    Nobody,
    /// An MX record (or its absence) with valid signatures (RFC 7672 section 2.2.1).
    Dnssec,
    /// A `[[route]]` names the host itself.
    Configuration,
}

/// What DNS says of a host's TLSA records (RFC 7672 section 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostDane {
    /// It has no secure ones, or nobody looked.
    #[default]
    Absent,
    /// It has to be authenticated by these.
    Usable(Arc<HostRecords>),
    /// It has some, and none can be used: TLS is mandatory.
    Unusable {
        /// The TLSA base domain.
        base: HostName,
        /// What is wrong with them.
        why: Box<str>,
    },
    /// The look-up failed: the host counts as unreachable (section 2.1.1).
    Failed {
        /// The TLSA base domain.
        base: HostName,
        /// One phrase: what exactly was answered.
        detail: Box<str>,
        /// We could not ask.
        ours: bool,
    },
}

impl Vouched {
    /// From the verdict on an MX answer, or on the denial where there is none.
    #[must_use]
    pub const fn by(security: Security) -> Self {
        match security {
            Security::Secure => Self::Dnssec,
            Security::Insecure | Security::Unchecked => Self::Nobody,
        }
    }
}

impl HostDane {
    /// Whether anything follows from it.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The TLSA base domain.
    #[must_use]
    pub fn base(&self) -> Option<&HostName> {
        match self {
            Self::Absent => None,
            Self::Usable(records) => Some(&records.base),
            Self::Unusable { base, .. } | Self::Failed { base, .. } => Some(base),
        }
    }

    /// The usable records.
    #[must_use]
    pub const fn records(&self) -> Option<&Arc<HostRecords>> {
        match self {
            Self::Usable(records) => Some(records),
            Self::Absent | Self::Unusable { .. } | Self::Failed { .. } => None,
        }
    }
}
