//! The relay with the user, groups and umask of the unit that is shipped: what operators reach, and what
//! they do not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use sealpost_tests::{Daemon, RelayConfig, eventually, sealpost_binary, without_settings};
use tempfile::TempDir;

use crate::net::SOON;

testkit::net_test! {
    async fn h8_01_under_the_shipped_unit_operators_reach_the_socket_and_nothing_else() {
        testkit::namespace::require_real_root("a service that runs as its own user");
        let unit = Unit::shipped();
        let folder = TempDir::with_prefix("sealpost-").unwrap();
        let ours = folder.path().join("run");
        std::fs::create_dir(&ours).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let service = Who { uid: USER, gid: gid(unit.one("Group")), groups: unit.groups() };
        std::os::unix::fs::chown(&ours, Some(service.uid), Some(service.gid)).unwrap();
        let config = ours.join("sealpost.toml");
        std::fs::write(&config, RelayConfig::default().text(&ours)).unwrap();
        let mut command = service.command(&unit);
        command.arg("serve").arg("--config").arg(&config);
        let mut daemon = Daemon::start("sealpost", &mut command, &folder.path().join("output"));
        let socket = ours.join("control.sock");
        let operator = Who { uid: 64_010, gid: 64_010, groups: vec![gid("sealpost-admin")] };
        let answered = eventually(SOON, async || {
            let ended = daemon.status().is_some();
            let status = (socket.exists() || ended).then(|| operator.run(&unit, "status", &config))?;
            (ended || status.status.success()).then_some(status)
        });
        let answered = answered.await;
        let words = answered.as_ref().map(|o| String::from_utf8_lossy(&o.stderr));
        assert!(answered.as_ref().is_some_and(|o| o.status.success()), "{words:?} {}", daemon.printed());
        let file = std::fs::metadata(&socket).unwrap();
        assert_eq!((file.gid(), file.mode() & 0o777), (gid("sealpost-admin"), 0o660));
        let stranger = Who { uid: 64_011, gid: 64_011, groups: vec![] };
        assert_eq!(stranger.run(&unit, "status", &config).status.code(), Some(69));
        // Whether the clock was moved while the relay was down is known from the boot id.
        let clock = ours.join("data/clock");
        let line = eventually(SOON, async || std::fs::read_to_string(&clock).ok()).await.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.len() == 3 && words[0].len() > 30, "{line:?}");
        daemon.signal(rustix::process::Signal::TERM);
        assert!(daemon.wait(SOON).await.success());
        assert_closed(&ours.join("data"));
    }
}

/// Neither the directory nor anything below is open to the group or to others.
fn assert_closed(path: &Path) {
    let file = std::fs::symlink_metadata(path).unwrap();
    assert_eq!(file.mode() & 0o077, 0, "{}", path.display());
    if file.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            assert_closed(&entry.unwrap().path());
        }
    }
}

/// Settings of the unit, as it is shipped.
struct Unit(String);

impl Unit {
    fn shipped() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/sealpost.service");
        Self(std::fs::read_to_string(path).unwrap())
    }

    fn get(&self, key: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim())
    }

    fn one(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("no {key}="))
    }

    fn groups(&self) -> Vec<u32> {
        let names = self.get("SupplementaryGroups").unwrap_or_default();
        names.split_whitespace().map(gid).collect()
    }
}

/// The groups of `deploy/sysusers.d`, by numbers that nobody has.
fn gid(name: &str) -> u32 {
    match name {
        "sealpost" => USER,
        "sealpost-admin" => 64_002,
        other => panic!("deploy/sysusers.d makes no group {other}"),
    }
}

/// Somebody to run the binary as.
struct Who {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Who {
    fn command(&self, unit: &Unit) -> Command {
        // The binary may lie where only we may look: a descriptor leads to it all the same.
        let script = format!(
            "{} umask {}; exec 9<\"$0\" && exec setpriv \"$@\"",
            match unit.get("ProcSubset") {
                Some("pid") => "mount -t proc -o subset=pid proc /proc || exit 99;",
                _ => "",
            },
            unit.one("UMask")
        );
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script])
            .arg(sealpost_binary())
            .args(["--no-new-privs", "--inh-caps=-all"])
            .arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid));
        match groups.is_empty() {
            true => command.arg("--clear-groups"),
            false => command.arg(format!("--groups={}", groups.join(","))),
        };
        command.arg("/proc/self/fd/9");
        without_settings(&mut command);
        command
    }

    fn run(&self, unit: &Unit, subcommand: &str, config: &Path) -> Output {
        let mut command = self.command(unit);
        command.arg(subcommand).arg("--config").arg(config);
        command.output().unwrap()
    }
}

const USER: u32 = 64_001;
