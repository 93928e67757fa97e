//! Every configuration that is shipped loads without an error.

use settings::{Severity, Sources, load};

use mail_types::Timestamp;

use crate::repository::{files, read};

#[test]
fn shipped_configurations_load() {
    let dir = tempfile::tempdir().expect("a folder");
    let of_dir = |name: &str| dir.path().join(name).display().to_string();
    let mut loaded = 0;
    for path in files() {
        if !(path.starts_with("config/") && path.ends_with(".toml")) {
            continue;
        }
        let sources = Sources {
            file: Some((path.clone().into(), read(&path))),
            // The directories of a file may not be writable where tests run.
            environment: vec![
                ("SEALPOST__SERVER__DATA_DIR".into(), of_dir("data")),
                ("SEALPOST__ADMIN__SOCKET".into(), of_dir("control.sock")),
            ],
            node: "relay.example.org".into(),
            hosts: String::new(),
            now: Timestamp::from_secs(1_772_366_400),
        };
        let result = load(&sources);
        let problems = match &result {
            Ok(loaded) => &loaded.warnings,
            Err(error) => &error.0,
        };
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
        loaded += 1;
    }
    assert!(loaded >= 2, "only {loaded} configurations were found");
}

/// The file that the README names must run where nobody has configured anything.
#[test]
fn the_local_configuration_needs_nothing_of_the_system() {
    let text = read("config/local.toml");
    let sources = Sources {
        file: Some(("config/local.toml".into(), text)),
        node: "localhost".into(),
        hosts: "127.0.0.1 localhost\n".into(),
        ..Sources::default()
    };
    let settings = load(&sources).map(|loaded| (loaded.settings, loaded.warnings));
    let (settings, warnings) = settings.unwrap_or_else(|error| panic!("{error}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(settings.server.data_dir.starts_with("target"));
    assert!(settings.admin.socket.starts_with("target"));
    for address in settings.listeners.iter().flat_map(|l| &l.addresses) {
        assert!(
            address.ip().is_loopback() && address.port() > 1023,
            "{address}"
        );
    }
}
