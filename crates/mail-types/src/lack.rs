//! Which errors of a socket say that this machine lacks something, whoever is at the other end.

use std::io;

/// What this machine lacks, in words, if that is why a socket could not be used. EADDRNOTAVAIL, EPERM and EACCES
/// are not among them: a machine without IPv6 gives the first for every such address, and a route or firewall
/// that forbids one address the others, so that they say something of the other end as well.
#[must_use]
pub fn socket_lack(error: &io::Error) -> Option<String> {
    let (what, code) = match error.raw_os_error()? {
        EMFILE => ("this process has no file descriptor left", "EMFILE"),
        ENFILE => ("this machine has no file descriptor left", "ENFILE"),
        ENOBUFS => ("this machine has no buffer left for a socket", "ENOBUFS"),
        ENOMEM => ("this machine has no memory left for a socket", "ENOMEM"),
        _ => return None,
    };
    Some(format!("{what} ({code})"))
}

// Linux, on all machines that we build for; the standard library has kinds for some of them only.
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn h9_01_what_the_other_end_does_is_no_lack_of_ours() {
        // EPERM, EACCES, EADDRNOTAVAIL, ENETUNREACH, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH.
        for theirs in [1, 13, 99, 101, 104, 110, 111, 113] {
            let error = io::Error::from_raw_os_error(theirs);
            assert_eq!(socket_lack(&error), None, "{error}");
        }
        for ours in [ENOMEM, ENFILE, EMFILE, ENOBUFS] {
            let error = io::Error::from_raw_os_error(ours);
            assert!(socket_lack(&error).is_some(), "{error}");
        }
        let kind = |code| io::Error::from_raw_os_error(code).kind();
        assert_eq!(kind(ENOMEM), ErrorKind::OutOfMemory);
    }
}
