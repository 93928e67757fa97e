//! Unbound as a validating resolver.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::{Daemon, program};

/// `unbound` with a root of our own.
pub struct Unbound {
    _folder: TempDir,
    _daemon: Daemon,
}

impl Unbound {
    /// Resolves at `address`, from the root zone that `root` serves and with its trust anchor.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub async fn start(address: SocketAddr, root: SocketAddr, anchor: &str) -> Self {
        let unbound = program("unbound", "unbound");
        let folder = TempDir::with_prefix("unbound-").expect("a temporary folder");
        let path = folder.path();
        std::fs::write(path.join("root.key"), anchor).expect("a writable folder");
        let config = format!(
            "server:\n  directory: \"{dir}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  interface: {ip}@{port}\n  access-control: 127.0.0.0/8 allow\n  \
             do-ip6: no\n  do-not-query-localhost: no\n  num-threads: 1\n  \
             module-config: \"validator iterator\"\n  trust-anchor-file: \"{dir}/root.key\"\n  \
             trust-anchor-signaling: no\n  root-key-sentinel: no\n  \
             local-zone: \"test.\" nodefault\n  target-fetch-policy: \"0 0 0 0 0\"\n  \
             cache-max-negative-ttl: 1\n\
             remote-control:\n  control-enable: no\n\
             stub-zone:\n  name: \".\"\n  stub-addr: {root_ip}@{root_port}\n  stub-prime: no\n",
            dir = path.display(),
            ip = address.ip(),
            port = address.port(),
            root_ip = root.ip(),
            root_port = root.port(),
        );
        let file = path.join("unbound.conf");
        std::fs::write(&file, config).expect("a writable folder");
        let mut command = Command::new(unbound);
        command.arg("-d").arg("-c").arg(&file);
        let mut daemon = Daemon::start("unbound", &mut command, &path.join("output"));
        daemon.wait_for_port(address).await;
        Self {
            _folder: folder,
            _daemon: daemon,
        }
    }
}
