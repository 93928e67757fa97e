//! Sockets that systemd opened for us (`sd_listen_fds(3)`): by name they belong to listeners.
//!
//! A socket unit lets the relay listen on low ports without any privilege, and keeps clients waiting
//! instead of refusing them while it restarts.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use settings::{Listener, Settings};

/// The sockets that were passed, each with the name of its unit or its `FileDescriptorName`.
#[derive(Debug, Default)]
pub(crate) struct Activated(Vec<(String, TcpListener)>);

impl Activated {
    /// What this process was given; nothing if it was not started by a socket.
    ///
    /// # Errors
    /// A socket that is no TCP listener.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match passed.take_tcp_listener(index) {
                Ok(Some(socket)) => sockets.push((name, socket)),
                Ok(None) => {}
                Err(error) => {
                    return Err(format!(
                        "socket {name:?} of systemd is no TCP listener ({error}): write \
                         ListenStream=address:port in its unit"
                    ));
                }
            }
        }
        Ok(Self(sockets))
    }

    /// Takes those of a listener. None: it opens its addresses itself.
    ///
    /// # Errors
    /// They are not at the addresses that the configuration gives the listener, which are also those
    /// by which mail that would come back to us is recognised.
    pub(crate) fn take(&mut self, listener: &Listener) -> Result<Vec<TcpListener>, String> {
        let all = std::mem::take(&mut self.0);
        let (own, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(name, _)| *name == listener.name);
        self.0 = others;
        let sockets: Vec<TcpListener> = own.into_iter().map(|(_, socket)| socket).collect();
        if sockets.is_empty() {
            return Ok(sockets);
        }
        let there: BTreeSet<SocketAddr> =
            sockets.iter().filter_map(|s| s.local_addr().ok()).collect();
        let wanted: BTreeSet<SocketAddr> = listener.addresses.iter().copied().collect();
        if there != wanted {
            return Err(format!(
                "listener {:?}: systemd passes sockets at {there:?}, and its address says {wanted:?}: \
                 write the same in both",
                listener.name
            ));
        }
        Ok(sockets)
    }

    /// Nothing may be left over: nobody would answer there.
    ///
    /// # Errors
    /// A socket that has the name of no listener.
    pub(crate) fn finish(self, settings: &Settings) -> Result<(), String> {
        let Some((name, socket)) = self.0.first() else {
            return Ok(());
        };
        let listeners: Vec<&str> = settings.listeners.iter().map(|l| l.name.as_str()).collect();
        let address = socket.local_addr().map(|a| a.to_string());
        Err(format!(
            "systemd passes a socket named {name:?} (at {}), and no listener has that name: write \
             FileDescriptorName= with one of {listeners:?} into its unit",
            address.unwrap_or_default()
        ))
    }
}
