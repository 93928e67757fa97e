//! What follows for look-ups from what is seen of the way to DNSSEC (decision AMB-34).

/// What is known about the way to DNSSEC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// `dns.dnssec = "off"`: nobody looks.
    Off,
    /// No name server has served us yet; why. Look-ups fail until one does.
    Unknown(String),
    /// Answers can be validated.
    Carries,
    /// They cannot, and never could; why. Nobody vouches for anything.
    Unavailable(String),
    /// They cannot any more; why. Look-ups fail.
    Broken(String),
    /// They are signed, and what DNSSEC begins with fails validation; why. Look-ups fail.
    Bogus(String),
}

/// How to ask.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Way {
    /// With validation.
    Validated,
    /// As without DNSSEC.
    Plain,
    /// Not at all; why.
    Barred(String),
}

/// What a look at it has seen.
#[derive(Debug)]
#[must_use]
pub enum Seen {
    /// What DNSSEC begins with, valid.
    Carries,
    /// An answer without signatures, from which nothing can be validated.
    Strips(String),
    /// An answer with signatures that do not verify.
    Bogus(String),
    /// An error instead of an answer.
    Refuses(String),
    /// The same, and it is REFUSED, which may be meant for all our questions.
    Refused(String),
    /// Nothing.
    Silence(String),
    /// We could not ask.
    Ours(String),
}

impl Seen {
    /// Why it has not seen that DNSSEC reaches us, if so.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        match self {
            Self::Carries => None,
            Self::Strips(why)
            | Self::Bogus(why)
            | Self::Refuses(why)
            | Self::Refused(why)
            | Self::Silence(why)
            | Self::Ours(why) => Some(why),
        }
    }

    /// Whether name servers have said so.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        !matches!(self, Self::Silence(_) | Self::Ours(_))
    }
}

impl Path {
    /// How a name below the trust anchors is to be asked for. It is stale if the name servers were away since it was
    /// seen.
    pub fn way(&self, is_stale: bool) -> Way {
        match self {
            Self::Carries => Way::Validated,
            Self::Unavailable(why) if is_stale => Way::Barred(anew(why)),
            Self::Off | Self::Unavailable(_) => Way::Plain,
            Self::Unknown(why) | Self::Broken(why) | Self::Bogus(why) => Way::Barred(why.clone()),
        }
    }

    /// Why a look-up fails for it.
    #[must_use]
    pub fn obstacle(&self, is_stale: bool) -> Option<String> {
        match self {
            Self::Unavailable(why) if is_stale => Some(anew(why)),
            Self::Off | Self::Carries | Self::Unavailable(_) => None,
            Self::Unknown(why) => Some(why.clone()),
            Self::Broken(why) => Some(format!(
                "{why}; DNSSEC was there before, so that nothing is believed until it is back"
            )),
            Self::Bogus(why) => Some(format!("{why}; nothing is believed until it is mended")),
        }
    }

    /// What is known after a look.
    #[must_use]
    pub fn next(&self, seen: Seen) -> Self {
        match (self, seen) {
            (Self::Off, _) => Self::Off,
            (_, Seen::Carries) => Self::Carries,
            (_, Seen::Bogus(why)) => Self::Bogus(why),
            (Self::Carries | Self::Broken(_) | Self::Bogus(_), Seen::Strips(why)) => {
                Self::Broken(why)
            }
            // Without an answer nothing can be validated and look-ups fail by themselves.
            (
                Self::Carries | Self::Broken(_) | Self::Bogus(_),
                Seen::Refuses(_) | Seen::Refused(_) | Seen::Silence(_) | Seen::Ours(_),
            ) => self.clone(),
            (
                Self::Unknown(_) | Self::Unavailable(_),
                Seen::Strips(why) | Seen::Refuses(why) | Seen::Refused(why),
            ) => Self::Unavailable(why),
            (Self::Unknown(_), Seen::Silence(why) | Seen::Ours(why)) => Self::Unknown(why),
            (Self::Unavailable(_), Seen::Silence(_) | Seen::Ours(_)) => self.clone(),
        }
    }
}

/// The times during which every look has seen DNSSEC reach us. What was said in another, with nobody to prove it,
/// may have been said without validation.
#[derive(Debug, Default)]
pub struct Spells {
    is_on: bool,
    begun: u64,
}

impl Spells {
    /// A look has ended so.
    pub fn see(&mut self, seen: &Seen) {
        let carries = matches!(seen, Seen::Carries);
        if carries && !self.is_on {
            self.begun += 1;
        }
        if seen.is_answer() {
            self.is_on = carries;
        }
    }

    /// How many have begun.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.begun
    }
}

fn anew(why: &str) -> String {
    format!("{why}; the name servers were away since, and are asked for it anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why() -> String {
        "why".to_owned()
    }

    fn all() -> [Path; 5] {
        [
            Path::Unknown(why()),
            Path::Carries,
            Path::Unavailable(why()),
            Path::Broken(why()),
            Path::Bogus(why()),
        ]
    }

    /// Whether DNSSEC is known to be there, so that nothing goes out as without.
    fn had(path: &Path) -> bool {
        matches!(path, Path::Carries | Path::Broken(_) | Path::Bogus(_))
    }

    #[test]
    fn a_path_that_carried_once_is_never_given_up() {
        for state in &all() {
            for seen in [
                Seen::Strips(why()),
                Seen::Refuses(why()),
                Seen::Refused(why()),
                Seen::Silence(why()),
            ] {
                assert_eq!(had(state), had(&state.next(seen)), "{state:?}");
            }
            assert_eq!(state.next(Seen::Carries), Path::Carries);
        }
        // Silence proves nothing, neither for nor against.
        for state in &all() {
            assert_eq!(state.next(Seen::Silence(why())), *state);
        }
        assert_eq!(Path::Carries.next(Seen::Strips(why())), Path::Broken(why()));
        let first = Path::Unknown(String::new()).next(Seen::Refuses(why()));
        assert_eq!(first, Path::Unavailable(why()));
    }

    #[test]
    fn c4_06_keys_that_do_not_verify_never_pass_for_missing_ones() {
        for state in &all() {
            let after = state.next(Seen::Bogus(why()));
            assert_eq!(after, Path::Bogus(why()), "{state:?}");
            assert!(matches!(after.way(false), Way::Barred(_)));
        }
    }

    #[test]
    fn h1_02_c4_06_what_was_seen_before_an_outage_lets_nobody_go_without_dnssec() {
        let path = Path::Unavailable(why());
        assert_eq!((path.way(false), path.obstacle(false)), (Way::Plain, None));
        assert!(matches!(path.way(true), Way::Barred(_)));
        assert!(path.obstacle(true).is_some());
        assert_eq!(Path::Carries.way(true), Way::Validated);
        assert_eq!(Path::Off.way(true), Way::Plain);
    }

    #[test]
    fn c4_06_a_spell_ends_with_an_answer_that_shows_no_dnssec() {
        let mut spells = Spells::default();
        let mut after = |seen| {
            spells.see(&seen);
            spells.count()
        };
        assert_eq!(after(Seen::Strips(why())), 0);
        assert_eq!((after(Seen::Carries), after(Seen::Carries)), (1, 1));
        for seen in [
            Seen::Strips(why()),
            Seen::Refuses(why()),
            Seen::Bogus(why()),
        ] {
            let before = after(Seen::Carries);
            assert_eq!((after(seen), after(Seen::Carries)), (before, before + 1));
        }
        // Nobody has said anything.
        for seen in [Seen::Silence(why()), Seen::Ours(why())] {
            let before = after(Seen::Carries);
            assert_eq!((after(seen), after(Seen::Carries)), (before, before));
        }
    }
}
