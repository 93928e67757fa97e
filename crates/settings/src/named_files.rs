//! The files that a configuration names.

use std::path::Path;

use super::settings::{KeyPair, Settings};

/// A file that the server reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// The key, as it would stand in a file: `listener[0].private-key`.
    pub key: String,
    /// The file.
    pub path: &'a Path,
    /// Not even a group may read it.
    pub own: bool,
}

impl Settings {
    /// Every file that the server reads, its configuration first.
    #[must_use]
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = Files(Vec::new());
        files.one("", self.file.as_deref());
        for (n, listener) in self.listeners.iter().enumerate() {
            let at = format!("listener[{n}]");
            files.pair(&at, listener.key_pair.as_ref());
            files.one(&format!("{at}.client-ca"), listener.client_ca.as_deref());
        }
        for (n, certificate) in self.certificates.iter().enumerate() {
            files.pair(&format!("certificate[{n}]"), Some(&certificate.key_pair));
        }
        for (n, dkim) in self.dkim.iter().enumerate() {
            files.one(&format!("dkim[{n}].private-key"), Some(&dkim.private_key));
        }
        for (n, route) in self.routes.iter().enumerate() {
            files.each(&format!("route[{n}].roots"), &route.roots);
            let password = route.credentials.as_ref().map(|c| &*c.password_file);
            files.one(&format!("route[{n}].password-file"), password);
        }
        files.each("dns.trust-anchors", &self.dns.trust_anchors);
        files.each("tls.dangerous-extra-roots", &self.tls.dangerous_extra_roots);
        files.each("tls.crls", &self.tls.crls);
        files.one("access.users-file", self.logins.users_file.as_deref());
        files.pair("admin", self.admin.key_pair.as_ref());
        files.own("admin.token-file", self.admin.token_file.as_deref());
        files.own(
            "telemetry.otlp.headers-file",
            self.otlp.headers_file.as_deref(),
        );
        files.one("telemetry.otlp.ca-file", self.otlp.ca_file.as_deref());
        files.0
    }
}

struct Files<'a>(Vec<NamedFile<'a>>);

impl<'a> Files<'a> {
    fn one(&mut self, key: &str, path: Option<&'a Path>) {
        self.0.extend(path.map(|path| NamedFile {
            key: key.to_owned(),
            path,
            own: false,
        }));
    }

    fn own(&mut self, key: &str, path: Option<&'a Path>) {
        self.0.extend(path.map(|path| NamedFile {
            key: key.to_owned(),
            path,
            own: true,
        }));
    }

    fn pair(&mut self, at: &str, pair: Option<&'a KeyPair>) {
        let Some(pair) = pair else { return };
        self.one(&format!("{at}.certificate"), Some(&pair.certificate));
        self.one(&format!("{at}.private-key"), Some(&pair.private_key));
    }

    fn each(&mut self, key: &str, paths: &'a [std::path::PathBuf]) {
        for (n, path) in paths.iter().enumerate() {
            self.one(&format!("{key}[{n}]"), Some(path));
        }
    }
}
