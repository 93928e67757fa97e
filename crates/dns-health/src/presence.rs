//! Whether the name servers serve us: set by an absence that is everybody's, ended by any answer.

use std::time::Instant;

use crate::conduct::{Absence, Conduct};
use crate::silence::Silence;

/// What is known of all servers together.
#[derive(Debug, Default)]
pub struct Presence {
    silence: Option<Silence>,
    /// When an answer last came.
    answered: Option<Instant>,
    /// How often they came back.
    ended: u64,
}

impl Presence {
    /// Why nobody serves us, if that is so.
    #[must_use]
    pub const fn silence(&self) -> Option<&Silence> {
        self.silence.as_ref()
    }

    /// How many absences have ended: what was concluded before from questions without an answer may not
    /// hold any more.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// Whether such a reply teaches nothing new.
    #[must_use]
    pub fn explains(&self, reply: Conduct) -> bool {
        let silence = self.silence.as_ref();
        silence.is_some_and(|silence| silence.how.explains(reply))
    }

    /// Whether one of them has answered since then.
    #[must_use]
    pub fn has_answered_since(&self, then: Instant) -> bool {
        self.answered.is_some_and(|at| at >= then)
    }

    /// One of them has said something about a name. Says whether that is news.
    #[must_use]
    pub fn answered(&mut self, now: Instant) -> bool {
        self.answered = self.answered.max(Some(now));
        let is_news = self.silence.take().is_some();
        self.ended += u64::from(is_news);
        is_news
    }

    /// Others are asked now. A look that began before says nothing about them.
    pub fn replaced(&mut self, now: Instant) {
        self.answered = self.answered.max(Some(now));
        self.silence = None;
        self.ended += 1;
    }

    /// A look that began then has found nobody; who has answered somebody else meanwhile is there. Says whether
    /// that is news: that they refuse where they were silent, or the other way round, is.
    #[must_use]
    pub fn nobody_answered(&mut self, began: Instant, how: Absence, why: String) -> bool {
        if self.has_answered_since(began) {
            return false;
        }
        let since = self.silence.as_ref().map_or(began, |known| known.since);
        let found = Some(Silence { since, how, why });
        let is_news = self.silence != found;
        self.silence = found;
        is_news
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "an Instant can be made in no other way; which one it is does not matter"
    )]

    use std::time::Duration;

    use super::*;

    fn why(presence: &Presence) -> &str {
        presence.silence().map_or("", |silence| &silence.why)
    }

    #[test]
    fn h1_02_the_text_follows_from_silence_to_refusal_and_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all = Presence::default();
        assert!(all.nobody_answered(at(1), Absence::Silent, "silent".into()));
        assert!(!all.nobody_answered(at(2), Absence::Silent, "silent".into()));
        assert!(all.explains(Conduct::Silent) && !all.explains(Conduct::Refuses));
        assert!(all.nobody_answered(at(3), Absence::Refuses, "refused".into()));
        assert_eq!(why(&all), "refused");
        assert!(all.explains(Conduct::Refuses) && !all.explains(Conduct::Silent));
        assert!(all.nobody_answered(at(4), Absence::Silent, "silent".into()));
        assert_eq!(why(&all), "silent");
        let since = all.silence().map(|silence| silence.since);
        assert_eq!((since, all.ended()), (Some(at(1)), 0));
        assert!(all.answered(at(5)) && !all.answered(at(6)));
        assert_eq!((all.silence(), all.ended()), (None, 1));
        assert!(!all.explains(Conduct::Silent) && !all.explains(Conduct::Refuses));
    }

    #[test]
    fn h1_02_who_answers_while_somebody_looks_is_there() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all = Presence::default();
        assert!(!all.answered(at(5)));
        // Noted late.
        assert!(!all.answered(at(4)));
        assert!(!all.nobody_answered(at(3), Absence::Refuses, "refused".into()));
        assert!(!all.nobody_answered(at(5), Absence::Refuses, "refused".into()));
        assert!(all.nobody_answered(at(6), Absence::Refuses, "refused".into()));
        all.replaced(at(8));
        assert_eq!((all.silence(), all.ended()), (None, 1));
        assert!(!all.nobody_answered(at(7), Absence::Refuses, "refused".into()));
    }
}
