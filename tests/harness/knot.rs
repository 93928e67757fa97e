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

impl Knot {
    /// Serves these zones, each a name and the text of its zone file.
    ///
    /// # Panics
    /// If it is not installed, or refuses a zone.
    pub async fn start(address: SocketAddr, zones: &[(&str, &str)]) -> Self {
        let knotd = program("knotd", "knot");
        let folder = TempDir::with_prefix("knot-").expect("a temporary folder");
        let path = folder.path();
        let mut config = format!(
            "server:\n  rundir: {dir}\n  listen: {ip}@{port}\n\
             control:\n  listen: knot.sock\n\
             database:\n  storage: {dir}/db\n\
             log:\n  - target: stderr\n    any: info\n\
             zone:\n",
            dir = path.display(),
            ip = address.ip(),
            port = address.port(),
        );
        for (zone, text) in zones {
            write_zone(path, zone, text);
            config.push_str(&format!(
                "  - domain: {zone}\n    file: {}\n    zonefile-load: whole\n    journal-content: none\n",
                path.join(format!("{zone}.zone")).display()
            ));
        }
        let file = path.join("knot.conf");
        std::fs::write(&file, config).expect("a writable folder");
        let mut command = Command::new(knotd);
        command.arg("-c").arg(&file);
        let mut daemon = Daemon::start("knotd", &mut command, &path.join("output"));
        daemon.wait_for_port(address).await;
        let knot = Self { folder, daemon };
        for (zone, _) in zones {
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

const LOAD_WITHIN: Duration = Duration::from_secs(20);
