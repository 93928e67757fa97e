//! Questions that show whether a name server serves us at all. One for the inside of a network refuses the root and
//! answers for the zones that it serves: it is asked again what it has answered before.

use std::collections::VecDeque;

/// The last questions, one for each zone; `Z` names the zone.
#[derive(Debug)]
pub struct Witnesses<Z, Q> {
    /// Such as had an answer.
    answered: VecDeque<(Z, Q)>,
    /// Such as are not put for as long as nobody is known to answer.
    wanted: VecDeque<(Z, Q)>,
}

impl<Z, Q> Default for Witnesses<Z, Q> {
    fn default() -> Self {
        Self {
            answered: VecDeque::new(),
            wanted: VecDeque::new(),
        }
    }
}

impl<Z: PartialEq, Q: Clone + PartialEq> Witnesses<Z, Q> {
    /// This question had an answer, whichever.
    pub fn answered(&mut self, zone: Z, question: Q) {
        push(&mut self.answered, zone, question);
    }

    /// Somebody would like to put this question.
    pub fn wanted(&mut self, zone: Z, question: Q) {
        push(&mut self.wanted, zone, question);
    }

    /// What to ask, the latest first.
    #[must_use]
    pub fn questions(&self) -> Vec<Q> {
        let mut questions: Vec<Q> = Vec::new();
        for (_, question) in self.answered.iter().chain(&self.wanted) {
            if !questions.contains(question) {
                questions.push(question.clone());
            }
        }
        questions
    }
}

/// Several zones: one of them may be what is refused.
fn push<Z: PartialEq, Q>(list: &mut VecDeque<(Z, Q)>, zone: Z, question: Q) {
    list.retain(|(known, _)| *known != zone);
    list.push_front((zone, question));
    list.truncate(KEPT);
}

const KEPT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_02_the_last_questions_of_several_zones_are_kept() {
        let mut witnesses = Witnesses::default();
        for (zone, question) in [("a", 1), ("b", 2), ("b", 3), ("c", 4), ("b", 5), ("d", 6)] {
            witnesses.answered(zone, question);
        }
        assert_eq!(witnesses.questions(), [6, 5, 4]);
        witnesses.wanted("e", 7);
        witnesses.wanted("d", 6);
        assert_eq!(witnesses.questions(), [6, 5, 4, 7]);
    }
}
