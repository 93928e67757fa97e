//! Postfix, in front of the relay or at the receiving end, apart from the machine's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;
use testkit::{Leaf, TestCa};

use crate::daemon::{Daemon, eventually, program};

/// Parameters of `main.cf`, to be started.
#[derive(Clone, Debug)]
pub struct PostfixSetup {
    listen: SocketAddr,
    main: BTreeMap<String, String>,
}

/// A Postfix instance with its own configuration, queue, log and mailbox.
pub struct Postfix {
    folder: TempDir,
    address: SocketAddr,
    daemon: Daemon,
}

impl PostfixSetup {
    /// An organisation's Postfix: takes mail at `listen` from loopback and gives all of it to
    /// `relayhost`, for instance `[127.0.0.1]:2525`.
    pub fn front(listen: SocketAddr, hostname: &str, relayhost: &str) -> Self {
        Self::new(listen, hostname)
            .set("relayhost", relayhost)
            .set("smtp_send_xforward_command", "yes")
    }

    /// A receiving MX for these domains with STARTTLS; every address is delivered to one Maildir.
    pub fn mx(listen: SocketAddr, hostname: &str, domains: &[&str], leaf: &Leaf) -> Self {
        Self::new(listen, hostname)
            .mailbox(domains)
            .set("smtpd_tls_security_level", "may")
            .set("smtpd_tls_loglevel", "1")
            .set("smtpd_tls_received_header", "yes")
            .set("smtpd_tls_cert_file", &leaf.cert_path.display().to_string())
            .set("smtpd_tls_key_file", &leaf.key_path.display().to_string())
    }

    fn new(listen: SocketAddr, hostname: &str) -> Self {
        let base = [
            ("compatibility_level", "3.6"),
            ("myhostname", hostname),
            ("mydestination", ""),
            ("alias_maps", ""),
            ("local_recipient_maps", ""),
            ("mynetworks", "127.0.0.0/8"),
            ("inet_interfaces", "all"),
            ("inet_protocols", "ipv4"),
            ("smtpd_peername_lookup", "no"),
            (
                "smtpd_relay_restrictions",
                "permit_mynetworks, reject_unauth_destination",
            ),
            ("smtputf8_enable", "yes"),
            ("maximal_backoff_time", "1s"),
            ("minimal_backoff_time", "1s"),
            ("queue_run_delay", "1s"),
            ("biff", "no"),
            // Header fields are left as they come, also those of local clients.
            ("local_header_rewrite_clients", ""),
            ("smtp_dns_support_level", "disabled"),
            ("smtp_host_lookup", "native"),
        ];
        Self {
            listen,
            main: base
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// Mail for these domains stays here, whatever the address.
    #[must_use]
    pub fn mailbox(self, domains: &[&str]) -> Self {
        self.set("virtual_mailbox_domains", &domains.join(" "))
            .set("virtual_mailbox_maps", "static:inbox/")
            .set("virtual_minimum_uid", "1")
            .set("virtual_uid_maps", &format!("static:{NOBODY}"))
            .set("virtual_gid_maps", &format!("static:{NOBODY}"))
    }

    /// Sends with verified TLS to servers of this authority.
    #[must_use]
    pub fn verify_next_hop(self, ca: &TestCa, name: &str) -> Self {
        self.set("smtp_tls_security_level", "secure")
            .set("smtp_tls_secure_cert_match", name)
            .set("smtp_tls_CAfile", &ca.root_path().display().to_string())
    }

    /// Any parameter of `main.cf`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.main.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Writes the configuration and starts it.
    ///
    /// # Panics
    /// If it is not installed, does not start, or this is not the machine's root.
    pub async fn start(self) -> Postfix {
        testkit::namespace::require_real_root("Postfix");
        let postfix = program("postfix", "postfix");
        let folder = TempDir::with_prefix("postfix-").expect("a temporary folder");
        self.write(folder.path());
        let mut command = Command::new(postfix);
        command
            .arg("-c")
            .arg(folder.path().join("etc"))
            .arg("start-fg")
            .env_remove("MAIL_CONFIG");
        let output = folder.path().join("output");
        let mut daemon = Daemon::start("postfix", &mut command, &output);
        daemon.wait_for_port(self.listen).await;
        Postfix {
            folder,
            address: self.listen,
            daemon,
        }
    }

    fn write(&self, folder: &Path) {
        // Postfix's own users have to get in.
        set_mode(folder, 0o755);
        for name in ["etc", "queue", "data", "mail"] {
            let path = folder.join(name);
            std::fs::create_dir(&path).expect("a writable folder");
            set_mode(&path, 0o755);
        }
        chown(folder.join("data"), Some(user_id("postfix")), None).expect("root may give away");
        chown(folder.join("mail"), Some(NOBODY), Some(NOBODY)).expect("root may give away");
        let dir = folder.display();
        let mut main = format!(
            "queue_directory = {dir}/queue\ndata_directory = {dir}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             virtual_mailbox_base = {dir}/mail\n\
             maillog_file = {dir}/mail.log\nmaillog_file_prefixes = {dir}\n"
        );
        for (key, value) in &self.main {
            main.push_str(&format!("{key} = {value}\n"));
        }
        let master = format!("{} inet n - n - - smtpd\n{SERVICES}", self.listen);
        std::fs::write(folder.join("etc/main.cf"), main).expect("a writable folder");
        std::fs::write(folder.join("etc/master.cf"), master).expect("a writable folder");
    }
}

impl Postfix {
    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("mail.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits for a line of its log in which all of these occur.
    ///
    /// # Panics
    /// After `timeout`, with the log.
    pub async fn wait_for_log(&self, words: &[&str], timeout: Duration) -> String {
        let found = eventually(timeout, async || {
            let log = self.log();
            log.lines()
                .find(|line| words.iter().all(|w| line.contains(w)))
                .map(str::to_owned)
        });
        match found.await {
            Some(line) => line,
            None => panic!("Postfix does not log {words:?}:\n{}", self.story()),
        }
    }

    /// The messages in the mailbox, as Postfix wrote them: line ends are LF, and `Return-Path`,
    /// `X-Original-To`, `Delivered-To` and `Received` stand before what came over SMTP.
    pub fn mailbox(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("mail/inbox/new")) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        paths.iter().filter_map(|p| std::fs::read(p).ok()).collect()
    }

    /// Waits until the mailbox holds at least `n` messages.
    ///
    /// # Panics
    /// After `timeout`, with the log.
    pub async fn wait_for_mail(&self, n: usize, timeout: Duration) -> Vec<Vec<u8>> {
        let found = eventually(timeout, async || {
            Some(self.mailbox()).filter(|mail| mail.len() >= n)
        });
        match found.await {
            Some(mail) => mail,
            None => panic!(
                "{} of {n} messages came:\n{}",
                self.mailbox().len(),
                self.story()
            ),
        }
    }

    /// Tries deferred mail now.
    pub fn flush(&self) {
        let _ = Command::new(program("postqueue", "postfix"))
            .arg("-c")
            .arg(self.folder.path().join("etc"))
            .arg("-f")
            .status();
    }

    fn story(&self) -> String {
        format!("{}\n{}", self.log(), self.daemon.printed())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // The master leads a session, and so a process group, of its own.
        let file = self.folder.path().join("queue/pid/master.pid");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(master) = text.trim().parse().ok().and_then(Pid::from_raw) {
            self.daemon.end_group(master);
        }
        self.daemon.stop();
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own folder");
}

fn user_id(name: &str) -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(2)?.parse().ok())
        .unwrap_or_else(|| panic!("there is no user {name}: apt-get install postfix"))
}

/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// `master.cf` without chroot, and without what only `local` mail needs.
const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";
