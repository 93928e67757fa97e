//! The files that a configuration names.

use std::path::Path;

use file_rights::{ServerUser, Trouble};
use settings::{KeyPair, Place, Problem, Settings, Severity};

/// What the server's user could not read or write, asked by root, to whom nothing is closed.
pub(super) fn closed(settings: &Settings) -> Vec<Problem> {
    let data = &settings.server.data_dir;
    let Some(user) = ServerUser::of(data, settings.file.as_deref()) else {
        return Vec::new();
    };
    let files = named(settings).into_iter();
    let mut found: Vec<Problem> = files
        .filter_map(|file| Some(warning(&file.key, user.cannot_read(file.path, file.own)?)))
        .collect();
    let data = user.cannot_write(data);
    found.extend(data.map(|trouble| warning("server.data-dir", trouble)));
    let log = settings.log.file.as_deref();
    let log = log.and_then(|log| user.cannot_append(log));
    found.extend(log.map(|trouble| warning("log.file", trouble)));
    found
}

fn warning(key: &str, trouble: Trouble) -> Problem {
    Problem {
        severity: Severity::Warning,
        place: Place::Default,
        key: key.to_owned(),
        message: trouble.message,
        remedy: trouble.remedy,
    }
}

/// A file that the server reads.
struct NamedFile<'a> {
    key: String,
    path: &'a Path,
    /// Not even a group may read it.
    own: bool,
}

/// Every one, the configuration first.
fn named(settings: &Settings) -> Vec<NamedFile<'_>> {
    let mut files = Files(Vec::new());
    files.one("", settings.file.as_deref());
    for (n, listener) in settings.listeners.iter().enumerate() {
        let at = format!("listener[{n}]");
        files.pair(&at, listener.key_pair.as_ref());
        files.one(&format!("{at}.client-ca"), listener.client_ca.as_deref());
    }
    for (n, certificate) in settings.certificates.iter().enumerate() {
        files.pair(&format!("certificate[{n}]"), Some(&certificate.key_pair));
    }
    for (n, dkim) in settings.dkim.iter().enumerate() {
        files.one(&format!("dkim[{n}].private-key"), Some(&dkim.private_key));
    }
    let of_reports = settings.reporting.dkim.as_ref();
    let of_reports = of_reports.filter(|_| settings.reporting.enabled);
    files.one(
        "reporting.dkim-private-key",
        of_reports.map(|key| &*key.private_key),
    );
    for (n, route) in settings.routes.iter().enumerate() {
        files.each(&format!("route[{n}].roots"), &route.roots);
        let password = route.credentials.as_ref().map(|c| &*c.password_file);
        files.one(&format!("route[{n}].password-file"), password);
    }
    files.each("dns.trust-anchors", &settings.dns.trust_anchors);
    files.each(
        "tls.dangerous-extra-roots",
        &settings.tls.dangerous_extra_roots,
    );
    files.each("tls.crls", &settings.tls.crls);
    files.one("access.users-file", settings.logins.users_file.as_deref());
    files.pair("admin", settings.admin.key_pair.as_ref());
    files.own("admin.token-file", settings.admin.token_file.as_deref());
    files.own(
        "telemetry.otlp.headers-file",
        settings.otlp.headers_file.as_deref(),
    );
    files.one("telemetry.otlp.ca-file", settings.otlp.ca_file.as_deref());
    files.0
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
