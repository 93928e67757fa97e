//! A relay's users, made as an operator makes them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::TestCa;

use crate::binary::{CliOutput, cli};
use crate::config::RelayConfig;

/// A users file in a folder of its own.
pub struct Users {
    folder: TempDir,
}

impl Users {
    /// A file with these users and passwords, made by `sealpost user add`.
    ///
    /// # Panics
    /// If the command fails.
    pub async fn new(users: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("users-").expect("a temporary folder");
        let this = Self { folder };
        for (name, password) in users {
            let added = this.add(name, password).await;
            assert_eq!(added.code, Some(0), "{added:?}");
        }
        this
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("users")
    }

    /// `sealpost user add NAME`.
    pub async fn add(&self, name: &str, password: &str) -> CliOutput {
        let file = self.folder.path().join("password");
        std::fs::write(&file, format!("{password}\n")).expect("our own folder");
        let path = file.display().to_string();
        self.command(&["user", "add", name, "--password-file", &path])
            .await
    }

    /// `sealpost ARGS` with a configuration that names nothing but the file.
    pub async fn command(&self, args: &[&str]) -> CliOutput {
        let config = self.folder.path().join("sealpost.toml");
        let text = format!("[access]\nusers-file = \"{}\"\n", self.path().display());
        std::fs::write(&config, text).expect("our own folder");
        cli(&config, args).await
    }

    /// Adds the users and a submission listener with STARTTLS at `starttls`, and one with TLS from
    /// the first octet at `implicit`, both as `relay.test`.
    #[must_use]
    pub fn listeners(
        &self,
        config: RelayConfig,
        ca: &TestCa,
        starttls: &str,
        implicit: &str,
    ) -> RelayConfig {
        self.listeners_with(config, ca, starttls, implicit, "")
    }

    /// The same with these lines of TOML in both.
    #[must_use]
    pub fn listeners_with(
        &self,
        config: RelayConfig,
        ca: &TestCa,
        starttls: &str,
        implicit: &str,
        lines: &str,
    ) -> RelayConfig {
        let leaf = ca.leaf(&["relay.test"]);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&leaf.key_path, private).expect("our own file");
        let pair = format!(
            "certificate = {}\nprivate-key = {}\n{lines}",
            quoted(&leaf.cert_path),
            quoted(&leaf.key_path)
        );
        config
            .set("access.users-file", &quoted(&self.path()))
            .append(&format!(
                "[[listener]]\nname = \"submission\"\naddress = [\"{starttls}\"]\n\
                 role = \"submission\"\n{pair}\
                 [[listener]]\nname = \"submissions\"\naddress = [\"{implicit}\"]\n\
                 role = \"submission\"\ntls = \"implicit\"\n{pair}"
            ))
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
