//! How the process ends: sysexits, and an error that carries one.

use std::fmt;
use std::process::ExitCode;

/// A failure with the status that scripts see. Any other error ends with [`Status::Software`].
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub status: Status,
    /// One line: what is wrong, where, and the remedy.
    pub message: String,
}

/// The exit statuses in use, from sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// All is well.
    Ok = 0,
    /// An audit found something broken: not a failure of the command.
    Found = 1,
    /// The command line is wrong.
    Usage = 64,
    /// What was asked for does not exist or does not fit.
    Data = 65,
    /// A recipient's domain takes no mail.
    NoHost = 68,
    /// The daemon is not reachable; to `sendmail`: it refused the mail. Or this version does not do it.
    Unavailable = 69,
    /// A fault of this program.
    Software = 70,
    /// The system does not give what is needed: a port that somebody else has.
    System = 71,
    /// A file or socket cannot be made.
    #[allow(dead_code, reason = "for the wiring of the daemon")]
    CannotCreate = 73,
    /// The disk failed.
    #[allow(dead_code, reason = "for the wiring of the daemon")]
    Io = 74,
    /// Try again later.
    Temporary = 75,
    /// The configuration is wrong.
    Configuration = 78,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Says what went wrong on standard error and gives the status.
pub(crate) fn report(error: &anyhow::Error) -> Status {
    // A reader that has seen enough (`| head`) is no failure.
    let is_closed_pipe = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_closed_pipe) {
        return Status::Ok;
    }
    eprintln!("sealpost: {error:#}");
    if error.is::<settings::ConfigError>() {
        return Status::Configuration;
    }
    error
        .downcast_ref::<Failure>()
        .map_or(Status::Software, |failure| failure.status)
}
