//! Knot DNS as an authoritative server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::{Daemon, eventually, program};

/// `knotd` with zones of its own.
pub struct Knot {
    folder: TempDir,
    daemon: Daemon,
}

/// Whether and how a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// It is not, or its file holds the signatures.
    No,
    /// Absence is proven with NSEC records.
    Nsec,
    /// Absence is proven with NSEC3 records.
    Nsec3,
    /// As [`Signing::Nsec`], with signatures that last ten seconds.
    Brief,
}

impl Signing {
    fn config(self) -> String {
        let policy = match self {
            Self::No => return String::new(),
            Self::Nsec => "nsec",
            Self::Nsec3 => "nsec3",
            Self::Brief => "brief",
        };
        format!("    dnssec-signing: on\n    dnssec-policy: {policy}\n")
    }
}

impl Knot {
    /// Serves these zones, each a name and the text of its zone file.
    ///
    /// # Panics
    /// If it is not installed, or refuses a zone.
    pub async fn start(address: SocketAddr, zones: &[(&str, &str)]) -> Self {
        let plain: Vec<_> = zones
            .iter()
            .map(|(zone, text)| (*zone, *text, Signing::No))
            .collect();
        Self::start_signing(address, &plain).await
    }

    /// Serves these zones, and signs them as it is told.
    ///
    /// # Panics
    /// If it is not installed, or refuses a zone.
    pub async fn start_signing(address: SocketAddr, zones: &[(&str, &str, Signing)]) -> Self {
        let knotd = program("knotd", "knot");
        let folder = TempDir::with_prefix("knot-").expect("a temporary folder");
        let path = folder.path();
        let mut config = format!(
            "server:\n  rundir: {dir}\n  listen: {ip}@{port}\n\
             control:\n  listen: knot.sock\n\
             database:\n  storage: {dir}/db\n\
             log:\n  - target: stderr\n    any: info\n\
             {POLICIES}zone:\n",
            dir = path.display(),
            ip = address.ip(),
            port = address.port(),
        );
        // knotd makes it, keymgr does not.
        std::fs::create_dir(path.join("db")).expect("a writable folder");
        for (zone, text, signing) in zones {
            write_zone(path, zone, text);
            config.push_str(&format!(
                "  - domain: {zone}\n    file: {}\n    zonefile-load: whole\n    \
                 journal-content: none\n    zonefile-sync: -1\n{}",
                path.join(format!("{zone}.zone")).display(),
                signing.config()
            ));
        }
        let file = path.join("knot.conf");
        std::fs::write(&file, config).expect("a writable folder");
        let mut command = Command::new(knotd);
        command.arg("-c").arg(&file);
        let mut daemon = Daemon::start("knotd", &mut command, &path.join("output"));
        daemon.wait_for_port(address).await;
        let knot = Self { folder, daemon };
        for (zone, _, _) in zones {
            knot.wait_for_zone(zone).await;
        }
        knot
    }

    /// Puts another zone file in place. Its serial number must be higher.
    ///
    /// # Panics
    /// If knot refuses it.
    pub fn replace(&self, zone: &str, text: &str) {
        write_zone(self.folder.path(), zone, text);
        let output = self.control(&["-b", "zone-reload", zone]);
        assert!(output.0, "knot does not load {zone}: {}", output.1);
    }

    /// The DS records of a signed zone, for its parent's zone file.
    pub fn delegation(&self, zone: &str) -> String {
        self.keys(zone, "ds")
    }

    /// The DNSKEY records of a signed zone, as a trust anchor.
    pub fn anchor(&self, zone: &str) -> String {
        self.keys(zone, "dnskey").replace(" DNSKEY ", " IN DNSKEY ")
    }

    fn keys(&self, zone: &str, what: &str) -> String {
        let output = Command::new(program("keymgr", "knot"))
            .arg("-c")
            .arg(self.folder.path().join("knot.conf"))
            .args([zone, what])
            .output()
            .expect("keymgr runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.is_empty(), "{what} of {zone}: {output:?}");
        text
    }

    /// All records of a zone, with the signatures, as a zone file.
    pub fn dump(&self, zone: &str) -> String {
        let (done, text) = self.control(&["zone-read", zone]);
        assert!(done, "{text}");
        // `[d.test.] mx1.d.test. 300 A 192.0.2.1`
        let records = text.lines().filter_map(|line| line.split_once("] "));
        records.map(|(_, record)| format!("{record}\n")).collect()
    }

    async fn wait_for_zone(&self, zone: &str) {
        let loaded = eventually(LOAD_WITHIN, async || {
            let (known, text) = self.control(&["zone-status", zone, "+serial"]);
            let has_serial = text
                .split_once("serial: ")
                .is_some_and(|(_, s)| s.starts_with(|c: char| c.is_ascii_digit()));
            (known && has_serial).then_some(())
        });
        if loaded.await.is_none() {
            panic!(
                "knot does not serve {zone}: {}\n{}",
                self.control(&["zone-status", zone]).1,
                self.daemon.printed()
            );
        }
    }

    fn control(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new(program("knotc", "knot"))
            .arg("-s")
            .arg(self.folder.path().join("knot.sock"))
            .args(args)
            .output()
            .expect("knotc runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

fn write_zone(folder: &Path, zone: &str, text: &str) {
    std::fs::write(folder.join(format!("{zone}.zone")), text).expect("a writable folder");
}

const POLICIES: &str = "\
policy:
  - id: nsec
    algorithm: ecdsap256sha256
    single-type-signing: on
  - id: nsec3
    algorithm: ecdsap256sha256
    single-type-signing: on
    nsec3: on
    nsec3-iterations: 0
  - id: brief
    algorithm: ecdsap256sha256
    single-type-signing: on
    rrsig-lifetime: 10
    rrsig-refresh: 2
    rrsig-pre-refresh: 1
    propagation-delay: 0
    zone-max-ttl: 1
    dnskey-ttl: 1
";
const LOAD_WITHIN: Duration = Duration::from_secs(20);
