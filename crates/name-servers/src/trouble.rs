//! Errors of our own sockets. hickory tells of them as "no connections", like of a server that does not
//! answer; what is wrong on this machine must not be put down to a server, nor to the domain asked for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use mail_types::socket_lack;
use parking_lot::Mutex;

/// What the sockets of one pool have met.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Met>>);

#[derive(Default)]
struct Met {
    /// The last error of ours, and when.
    ours: Option<(Instant, Arc<io::Error>)>,
    /// The last error of any kind.
    any: Option<Arc<io::Error>>,
    /// Questions whose answer was too long for UDP, the latest last.
    truncated: VecDeque<(Instant, Query)>,
}

impl Trouble {
    pub(crate) fn note(&self, error: &NetError) {
        let NetError::Io(error) = error else { return };
        let mut met = self.0.lock();
        met.any = Some(Arc::clone(error));
        if is_ours(error) {
            met.ours = Some((Instant::now(), Arc::clone(error)));
        }
    }

    /// The answer did not fit into UDP, and is asked for over TCP. hickory tells of what fails there alone.
    pub(crate) fn note_truncated(&self, question: &Query) {
        let mut met = self.0.lock();
        met.truncated.push_back((Instant::now(), question.clone()));
        if met.truncated.len() > TRUNCATED {
            met.truncated.pop_front();
        }
    }

    /// The error of a question that was put at this time, with what hickory has left out of it. Whatever failed
    /// besides, while sockets of ours failed it is not known what the servers would have said.
    pub(crate) fn explain(
        &self,
        error: NetError,
        since: Instant,
        question: Option<&Query>,
    ) -> NetError {
        let met = self.0.lock();
        let ours = met.ours.as_ref().filter(|(at, _)| *at >= since);
        let was_cut = |(at, cut): &(Instant, Query)| *at >= since && Some(cut) == question;
        let failed = match &error {
            NetError::NoConnections | NetError::Timeout => true,
            NetError::Io(error) => !is_ours(error),
            _ => false,
        };
        if failed && ours.is_none() && met.truncated.iter().any(was_cut) {
            return NetError::Truncated;
        }
        let found = match error {
            NetError::NoConnections => ours.map(|(_, error)| error).or(met.any.as_ref()),
            NetError::Timeout | NetError::Truncated => ours.map(|(_, error)| error),
            _ => None,
        };
        found.map_or(error, |found| NetError::Io(Arc::clone(found)))
    }
}

/// What this machine lacks, if that is what is wrong.
#[must_use]
pub fn ours(error: &NetError) -> Option<String> {
    match error {
        NetError::Io(error) => socket_lack(error),
        // A limit of ours on questions under way.
        NetError::Busy => Some("too many questions are under way here".to_owned()),
        _ => None,
    }
}

fn is_ours(error: &io::Error) -> bool {
    socket_lack(error).is_some()
}

/// How many are remembered: as many as may be under way, about.
const TRUNCATED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i32 = 24;
    const ECONNREFUSED: i32 = 111;
    const EADDRNOTAVAIL: i32 = 99;

    fn io(code: i32) -> NetError {
        io::Error::from_raw_os_error(code).into()
    }

    #[test]
    fn h9_01_what_our_own_sockets_lack_is_not_lost() {
        let before = Instant::now();
        // ENOMEM, ENFILE, EMFILE, ENOBUFS.
        for code in [12, 23, EMFILE, 105] {
            for told in [
                NetError::NoConnections,
                NetError::Timeout,
                NetError::Truncated,
            ] {
                let trouble = Trouble::default();
                trouble.note(&io(code));
                // Another server of the pool has refused: that does not hide ours.
                trouble.note(&io(ECONNREFUSED));
                let error = trouble.explain(told, before, None);
                assert!(ours(&error).is_some(), "{error:?}");
            }
        }
        // One server is an IPv6 address, and this machine has none to reach it from; another is silent.
        let trouble = Trouble::default();
        trouble.note(&io(EADDRNOTAVAIL));
        assert!(matches!(
            trouble.explain(NetError::Timeout, before, None),
            NetError::Timeout
        ));
        assert_eq!(
            ours(&trouble.explain(NetError::NoConnections, before, None)),
            None
        );
        let trouble = Trouble::default();
        trouble.note(&io(ECONNREFUSED));
        let error = trouble.explain(NetError::NoConnections, before, None);
        assert!(matches!(&error, NetError::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused));
        assert_eq!(ours(&error), None);
        assert!(matches!(
            trouble.explain(NetError::Timeout, before, None),
            NetError::Timeout
        ));
    }

    #[test]
    fn what_was_wrong_with_an_earlier_question_is_not_held_against_this() {
        let trouble = Trouble::default();
        trouble.note(&io(EMFILE));
        let later = Instant::now() + std::time::Duration::from_nanos(1);
        assert!(matches!(
            trouble.explain(NetError::Timeout, later, None),
            NetError::Timeout
        ));
    }
}
