//! Dovecot as the SASL server behind a Postfix: one user, and the mechanisms of a test's choice.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::{Daemon, eventually, program};

/// A Dovecot that serves nothing but logins.
pub struct Dovecot {
    folder: TempDir,
    daemon: Daemon,
}

impl Dovecot {
    /// Starts it with these mechanisms, as in `plain login scram-sha-256`.
    ///
    /// # Panics
    /// If it is not installed, does not start, or this is not the machine's root.
    pub async fn start(mechanisms: &str, user: &str, password: &str) -> Self {
        testkit::namespace::require_real_root("Dovecot");
        let dovecot = program("dovecot", "dovecot-core");
        let folder = TempDir::with_prefix("dovecot-").expect("a temporary folder");
        // Its own users, and Postfix's, have to get in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("our own folder");
        let dir = folder.path().display();
        let config = format!(
            "protocols =\nbase_dir = {dir}/run\nlog_path = {dir}/log\nssl = no\n\
             default_login_user = nobody\ndefault_internal_user = nobody\n\
             default_internal_group = nogroup\nauth_mechanisms = {mechanisms}\n\
             passdb {{\n driver = passwd-file\n args = {dir}/users\n}}\n\
             service auth {{\n unix_listener {dir}/auth.sock {{\n  mode = 0666\n }}\n}}\n"
        );
        let file = folder.path().join("dovecot.conf");
        std::fs::write(&file, config).expect("a writable folder");
        let users = format!("{user}:{{PLAIN}}{password}::::::\n");
        std::fs::write(folder.path().join("users"), users).expect("a writable folder");
        let mut command = Command::new(dovecot);
        command.arg("-F").arg("-c").arg(&file);
        let daemon = Daemon::start("dovecot", &mut command, &folder.path().join("output"));
        let server = Self { folder, daemon };
        let socket = server.socket();
        let up = eventually(READY_WITHIN, async || socket.exists().then_some(()));
        assert!(up.await.is_some(), "{}", server.story());
        server
    }

    /// Where Postfix asks.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("auth.sock")
    }

    fn story(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("{log}\n{}", self.daemon.printed())
    }
}

const READY_WITHIN: Duration = Duration::from_secs(30);
