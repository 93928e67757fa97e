//! How often each command was said and how often it was done: what Postfix writes at a session's end.

use super::{Session, State};

/// A command as Postfix counts it, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    Xclient,
    Xforward,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Quit,
    /// Also what Postfix does not have.
    Unknown,
}

const NAMES: [(&str, Verb); 15] = [
    ("HELO", Verb::Helo),
    ("EHLO", Verb::Ehlo),
    ("XCLIENT", Verb::Xclient),
    ("XFORWARD", Verb::Xforward),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("QUIT", Verb::Quit),
    ("UNKNOWN", Verb::Unknown),
];

impl Verb {
    fn of(line: &[u8]) -> Self {
        let end = line.iter().position(|b| matches!(b, b' ' | b'\t'));
        let word = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        let known = NAMES
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        known.map_or(Self::Unknown, |(_, verb)| *verb)
    }
}

/// The commands of a session so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By [`Verb`]: how many were done, and how many were said.
    counts: [(u32, u32); NAMES.len()],
    /// Said, and not answered for good.
    open: Option<Verb>,
    last: Last,
}

/// What came last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Connect,
    Command(Verb),
    /// The end of the content of DATA.
    EndOfMessage,
}

impl Tally {
    /// The commands that were said, in Postfix's order: name, how many were done, how many were said.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, u32, u32)> + '_ {
        let counts = NAMES.iter().zip(&self.counts);
        let told = counts.map(|((name, _), (done, said))| (*name, *done, *said));
        told.filter(|(_, _, said)| *said > 0)
    }

    /// What came last: a command, `END-OF-MESSAGE`, or `CONNECT` if nothing came.
    #[must_use]
    pub fn last(&self) -> &'static str {
        match self.last {
            Last::Connect => "CONNECT",
            Last::Command(verb) => NAMES.get(verb as usize).map_or("", |(name, _)| name),
            Last::EndOfMessage => "END-OF-MESSAGE",
        }
    }

    pub(super) fn said(&mut self, line: &[u8]) {
        let verb = Verb::of(line);
        if let Some((_, said)) = self.counts.get_mut(verb as usize) {
            *said = said.saturating_add(1);
        }
        self.open = Some(verb);
        self.last = Last::Command(verb);
    }

    /// A reply with this code was made. One that asks for more, and the one that lets a handshake
    /// begin, leaves it open what becomes of the command.
    pub(super) fn replied(&mut self, code: u16) {
        match (code, self.open) {
            // Only the driver knows whether content is still on its way.
            (354, _) => self.last = Last::EndOfMessage,
            (300..=399, _) | (220, Some(Verb::StartTls)) => {}
            (200..=299, Some(_)) => self.done(),
            _ => self.over(),
        }
    }

    /// The command that is open was carried out.
    pub(super) fn done(&mut self) {
        if let Some(verb) = self.open
            && let Some((done, _)) = self.counts.get_mut(verb as usize)
        {
            *done = done.saturating_add(1);
            // The session begins anew.
            if verb == Verb::Xclient {
                self.last = Last::Connect;
            }
        }
        self.over();
    }

    fn over(&mut self) {
        self.open = None;
    }
}

impl Session {
    /// The commands so far.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Octets that came so far of the content that is on its way in.
    #[must_use]
    pub fn octets_of_content(&self) -> Option<u64> {
        match &self.state {
            State::Content => self
                .transaction
                .as_ref()?
                .content
                .as_ref()
                .map(|c| c.received()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_stands_at_its_name() {
        for (at, (name, verb)) in NAMES.into_iter().enumerate() {
            assert_eq!(verb as usize, at);
            assert_eq!(Verb::of(name.to_ascii_lowercase().as_bytes()), verb);
        }
        assert_eq!(Verb::of(b"MAILX FROM:<>"), Verb::Unknown);
        assert_eq!(Verb::of(b""), Verb::Unknown);
    }
}
