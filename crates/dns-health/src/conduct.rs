//! What name servers do with our questions, whatever these are about.

/// What one name server does. Of several replies the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conduct {
    /// It says something about the name, be it SERVFAIL.
    Answers,
    /// REFUSED: it does not want to be asked that, or not by us.
    Refuses,
    /// Nothing comes back.
    Silent,
}

impl Conduct {
    /// Of a server that was asked several questions: one answer shows that it is there for us.
    #[must_use]
    pub fn overall(replies: impl IntoIterator<Item = Self>) -> Self {
        replies.into_iter().min().unwrap_or(Self::Silent)
    }
}

/// How all name servers fail us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// None says anything.
    Silent,
    /// Each refuses.
    Refuses,
    /// Some refuse, the others are silent.
    Both,
}

impl Absence {
    /// `None` if one of them answers.
    #[must_use]
    pub fn of(servers: &[Conduct]) -> Option<Self> {
        let any = |conduct| servers.contains(&conduct);
        match (any(Conduct::Refuses), any(Conduct::Silent)) {
            _ if any(Conduct::Answers) => None,
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Refuses),
            (false, _) => Some(Self::Silent),
        }
    }

    /// Whether a reply of this kind is what one has to expect then.
    #[must_use]
    pub const fn explains(self, reply: Conduct) -> bool {
        matches!(
            (self, reply),
            (Self::Silent | Self::Both, Conduct::Silent)
                | (Self::Refuses | Self::Both, Conduct::Refuses)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Conduct::{Answers, Refuses, Silent};
    use super::*;

    #[test]
    fn h1_02_servers_are_judged_one_by_one() {
        assert_eq!(Conduct::overall([Silent, Refuses, Answers]), Answers);
        assert_eq!(Conduct::overall([Silent, Refuses]), Refuses);
        assert_eq!(Conduct::overall([]), Silent);
        assert_eq!(Absence::of(&[Refuses, Answers]), None);
        assert_eq!(Absence::of(&[Silent, Answers]), None);
        assert_eq!(Absence::of(&[Refuses, Refuses]), Some(Absence::Refuses));
        assert_eq!(Absence::of(&[Silent]), Some(Absence::Silent));
        assert_eq!(Absence::of(&[Silent, Refuses]), Some(Absence::Both));
        assert!(Absence::Both.explains(Silent) && Absence::Both.explains(Refuses));
        assert!(!Absence::Silent.explains(Refuses) && !Absence::Refuses.explains(Silent));
        assert!(!Absence::Both.explains(Answers));
    }
}
