//! What name servers do with our questions, whatever these are about.

/// What one name server does. Of several replies the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conduct {
    /// It says something about the name.
    Answers,
    /// An error code (RCODE) other than REFUSED: SERVFAIL, FORMERR and the like.
    Fails(u16),
    /// A referral: it knows whom to ask, and does not recurse.
    Refers,
    /// REFUSED: it does not want to be asked that, or not by us.
    Refuses,
    /// Over UDP it says that the answer is too long, and over TCP nothing comes.
    Cut,
    /// What comes back is no DNS message.
    Unreadable,
    /// Nothing comes back.
    Silent,
}

impl Conduct {
    /// Of a server that was asked several questions: one answer shows that it is there for us.
    #[must_use]
    pub fn overall(replies: impl IntoIterator<Item = Self>) -> Self {
        replies.into_iter().min().unwrap_or(Self::Silent)
    }

    /// How a server that does nothing else is absent; `None` if it is not.
    const fn absence(self) -> Option<Absence> {
        match self {
            Self::Answers => None,
            Self::Fails(_) => Some(Absence::Fails),
            Self::Refers => Some(Absence::Refers),
            Self::Refuses => Some(Absence::Refuses),
            Self::Cut | Self::Unreadable => Some(Absence::Unusable),
            Self::Silent => Some(Absence::Silent),
        }
    }
}

/// How all name servers fail us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// None says anything.
    Silent,
    /// Each refuses.
    Refuses,
    /// Each answers with an error.
    Fails,
    /// None recurses.
    Refers,
    /// What comes back is of no use.
    Unusable,
    /// One does this, another that.
    Mixed,
}

impl Absence {
    /// `None` if one of them answers.
    #[must_use]
    pub fn of(servers: &[Conduct]) -> Option<Self> {
        let mut all = None;
        for server in servers {
            let its = server.absence()?;
            all = match all {
                Some(others) if others != its => Some(Self::Mixed),
                _ => Some(its),
            };
        }
        Some(all.unwrap_or(Self::Silent))
    }

    /// Whether a reply of this kind is what one has to expect then.
    #[must_use]
    pub fn explains(self, reply: Conduct) -> bool {
        let its = reply.absence();
        its.is_some_and(|its| self == its || self == Self::Mixed)
    }

    /// Whether nothing may come back, so that a question has to be waited for.
    #[must_use]
    pub const fn may_be_silent(self) -> bool {
        matches!(self, Self::Silent | Self::Unusable | Self::Mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::Conduct::{Answers, Cut, Fails, Refers, Refuses, Silent, Unreadable};
    use super::*;

    #[test]
    fn h1_02_servers_are_judged_one_by_one() {
        assert_eq!(Conduct::overall([Silent, Refuses, Answers]), Answers);
        assert_eq!(Conduct::overall([Silent, Refuses]), Refuses);
        assert_eq!(Conduct::overall([Refuses, Fails(2)]), Fails(2));
        assert_eq!(Conduct::overall([]), Silent);
        assert_eq!(Absence::of(&[Refuses, Answers]), None);
        assert_eq!(Absence::of(&[Silent, Answers]), None);
        assert_eq!(Absence::of(&[Refuses, Refuses]), Some(Absence::Refuses));
        assert_eq!(Absence::of(&[Silent]), Some(Absence::Silent));
        assert_eq!(Absence::of(&[Fails(2), Fails(1)]), Some(Absence::Fails));
        assert_eq!(Absence::of(&[Refers]), Some(Absence::Refers));
        assert_eq!(Absence::of(&[Cut, Unreadable]), Some(Absence::Unusable));
        assert_eq!(Absence::of(&[Silent, Refuses]), Some(Absence::Mixed));
        assert_eq!(
            Absence::of(&[Silent, Refuses, Silent]),
            Some(Absence::Mixed)
        );
        assert!(Absence::Mixed.explains(Silent) && Absence::Mixed.explains(Refuses));
        assert!(!Absence::Silent.explains(Refuses) && !Absence::Refuses.explains(Silent));
        assert!(Absence::Fails.explains(Fails(4)) && !Absence::Fails.explains(Refuses));
        assert!(!Absence::Mixed.explains(Answers));
    }
}
