use super::*;

#[test]
fn h7_11_what_changes_at_once_is_documented() {
    let document = include_str!("../../../../../docs/listeners.md");
    let start = document.find("## What a reload changes").unwrap();
    let section = document[start..].split("\n## ").next().unwrap();
    for name in SECTIONS {
        let word = match name.strip_suffix('[') {
            Some(table) => format!("`[[{table}]]`"),
            None => format!("`{name}*`"),
        };
        assert!(section.contains(&word), "{word}");
    }
    let keys = AT_ONCE.into_iter().chain(OF_SESSIONS);
    for key in keys.chain(OF_CERTIFICATES) {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}

/// Each key is changed by itself: what is said to count at once is taken over, all else is not.
#[test]
fn h7_11_what_is_said_to_take_effect_is_what_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let load = |text: &str| {
        let sources = settings::Sources {
            file: Some((folder.path().join("sealpost.toml"), text.to_owned())),
            node: "relay.example.org".to_owned(),
            ..settings::Sources::default()
        };
        settings::load(&sources).ok()
    };
    let base = format!(
        "admin.socket = \"{0}/control.sock\"\nserver.data-dir = \"{0}\"\n",
        folder.path().display()
    );
    let (mut changed, mut left) = (0, Vec::new());
    for (key, entry, values) in keys() {
        // An entry does not load without what it needs.
        let entry = entry.map(needed).unwrap_or_default();
        let text = format!("{base}{entry}");
        let name = match entry.as_str() {
            "" => key.as_str(),
            _ => key.rsplit('.').next().unwrap(),
        };
        let Some(old) = load(&text) else {
            left.push(key);
            continue;
        };
        let others = text
            .lines()
            .filter(|l| !l.starts_with(&format!("{name} =")));
        let others = others.collect::<Vec<_>>().join("\n");
        let mut tried = values
            .iter()
            .filter_map(|value| load(&format!("{others}\n{name} = {value}\n")))
            .filter(|new| new.settings != old.settings);
        let Some(new) = tried.next() else {
            left.push(key);
            continue;
        };
        changed += 1;
        let ports = Ports::compare(&old.settings.listeners, &new.settings.listeners);
        let taken = combined(&old.settings, &new.settings, ports);
        let changes = old.values.changes(&new.values);
        assert!(!changes.is_empty(), "{key}");
        let all = changes.iter().all(|c| takes_effect(&c.key, ports));
        let none = !changes.iter().any(|c| takes_effect(&c.key, ports));
        assert!(all != none, "{key}: {changes:?}");
        assert_eq!(
            taken == new.settings,
            all,
            "{key} counts, but is not taken over"
        );
        assert_eq!(
            taken == old.settings,
            none,
            "{key} is taken over, but is said to wait"
        );
    }
    assert_eq!(left, NEED_OTHERS, "changed: {changed}");
}

/// Names of all keys with the section of their entry, and values that may be another than the default.
fn keys() -> Vec<(String, Option<&'static str>, Vec<String>)> {
    let reference = Box::leak(settings::reference().into_boxed_str());
    let mut all = Vec::new();
    for section in reference.split("\n## `[").skip(1) {
        let (head, keys) = section.split_once('`').unwrap();
        let entry = head.starts_with('[');
        let head = head.trim_matches(['[', ']']);
        for key in keys.split("\n### `").skip(1) {
            let (name, text) = key.split_once('`').unwrap();
            let values = text.split("\n- ").skip(1).flat_map(|line| {
                // In back-quotes as TOML, in quotes as words.
                let toml = line.split('`').skip(1).step_by(2);
                let toml = toml.map(|t| t.rsplit(" = ").next().unwrap_or(t).to_owned());
                let words = line.split('"').skip(1).step_by(2);
                let words = words.flat_map(|w| [format!("\"{w}\""), format!("[\"{w}\"]")]);
                toml.chain(words).collect::<Vec<_>>()
            });
            let mut values: Vec<String> = values.collect();
            values.extend(OTHERS.map(str::to_owned));
            all.push((format!("{head}.{name}"), entry.then_some(head), values));
        }
    }
    assert!(all.len() > 100, "{}", all.len());
    all
}

/// An entry with all that it needs.
fn needed(section: &str) -> String {
    let lines = match section {
        "listener" => "name = \"in\"\naddress = [\"127.0.0.1:2626\"]\ntls = \"off\"\n",
        "identity" => "name = \"x\"\nsenders = [\"a.example\"]\n",
        "route" => "relay = \"mx.example\"\n",
        "domain" => "name = \"d.example\"\n",
        _ => "",
    };
    format!("[[{section}]]\n{lines}")
}

const OTHERS: [&str; 19] = [
    "true",
    "false",
    "1",
    "2",
    "7",
    "200",
    "100",
    "5000",
    "\"2s\"",
    "\"7m\"",
    "\"3h\"",
    "\"64MiB\"",
    "\"other.example\"",
    "\"http://127.0.0.1:4318\"",
    "[\"other.example\"]",
    "[\"a@other.example\"]",
    "[\"192.0.2.9\"]",
    "[\"192.0.2.0/29\"]",
    "[\"127.0.0.1\"]",
];

/// Keys that another value alone is not enough for: they need files or other keys.
const NEED_OTHERS: [&str; 38] = [
    "listener.role",
    "listener.tls",
    "listener.certificate",
    "listener.private-key",
    "listener.client-ca",
    "listener.require-from",
    "listener.add-sender",
    "listener.hide-client",
    "listener.show-user",
    "access.users-file",
    "dns.trust-anchors",
    "tls.dangerous-extra-roots",
    "certificate.server-names",
    "certificate.certificate",
    "certificate.private-key",
    "dkim.domain",
    "dkim.selector",
    "dkim.private-key",
    "dkim.algorithm",
    "dkim.by",
    "dkim.subdomains",
    "dkim.networks",
    "dkim.expires",
    "dkim.signed-headers",
    "dkim.oversigned-headers",
    "route.roots",
    "route.username",
    "route.password-file",
    "domain.mx",
    "reporting.enabled",
    "reporting.dkim-domain",
    "reporting.dkim-selector",
    "reporting.dkim-private-key",
    "admin.token-file",
    "admin.certificate",
    "admin.private-key",
    "telemetry.otlp.headers-file",
    "telemetry.otlp.ca-file",
];
