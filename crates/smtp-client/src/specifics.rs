//! What exactly happened, in words that follow what kind of failure it was.

use crate::certificate::{CertificateFault, few_names};
use crate::dane_verdict::DaneFault;
use crate::error::{Cause, SocketFault};

impl Cause {
    /// What a sentence about this kind of failure does not say yet.
    #[must_use]
    pub fn specifics(&self) -> String {
        // The number is for programmers: the words before it say the same.
        let plain = |fault: &SocketFault| match fault.text.split_once(" (os error") {
            Some((words, _)) => words.to_owned(),
            None => fault.text.to_string(),
        };
        match self {
            Self::Connect(fault) | Self::Lost(fault) => plain(fault),
            Self::StartTlsNotOffered(offered) => format!("it offers only {offered}"),
            Self::StartTlsRefused(reply) | Self::Remote(reply) => reply.to_string(),
            Self::StartTlsInjection => "this is how commands are injected".to_owned(),
            Self::Handshake(fault) => fault.to_string(),
            Self::Certificate(failure) => match &failure.fault {
                CertificateFault::HostMismatch { names, .. } if names.is_empty() => {
                    "it has no name at all".to_owned()
                }
                CertificateFault::HostMismatch { names, .. } => {
                    format!("it is for {}", few_names(names))
                }
                fault => fault.to_string(),
            },
            Self::Dane(failure) => match &failure.fault {
                DaneFault::NoMatch { base, records } => format!("{records} at {base}"),
                fault => fault.to_string(),
            },
            Self::Protocol(fault) => fault.to_string(),
            Self::Timeout(_)
            | Self::Auth(_)
            | Self::Missing(_)
            | Self::Local(_)
            | Self::Configured(_) => self.to_string(),
        }
    }
}
