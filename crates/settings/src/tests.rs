//! The whole way from text to settings.

use std::path::PathBuf;
use std::time::Duration;

use mail_types::Timestamp;

use super::*;
use reader::Reader;

/// Sources with a host name and a file, at noon of 2026-03-01.
pub(super) fn sources(text: &str) -> Sources {
    Sources {
        file: Some((PathBuf::from("sealpost.toml"), text.to_owned())),
        node: "relay.example.org".into(),
        now: Timestamp::from_secs(1_772_366_400),
        ..Sources::default()
    }
}

/// A file whose directories are writable.
pub(super) fn text_file(dir: &tempfile::TempDir, toml: &str) -> String {
    let path = dir.path().display();
    format!(
        "server.data-dir = \"{path}/data\"\n\
         server.postmaster = \"postmaster@example.org\"\n\
         admin.socket = \"{path}/control.sock\"\n\
         {toml}"
    )
}

pub(crate) fn settings(toml: &str) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    load(&sources(&text_file(&dir, toml))).unwrap().settings
}

/// All problems as text, one a line, whether or not the server could start.
pub(crate) fn problems(toml: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    problems_of(&sources(&text_file(&dir, toml)))
}

fn problems_of(sources: &Sources) -> Vec<String> {
    let found = match load(sources) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.0,
    };
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn g3_06_trust_by_reverse_dns_is_refused_with_its_reason() {
    for key in ["trust-ptr", "trust_ptr"] {
        let text = format!("[access]\n{key} = true\n");
        let found = problems_of(&sources(&text));
        let line = found.iter().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{found:?}"));
        assert!(line.contains("no such key"), "{line}");
        assert!(
            line.contains("whoever owns an address writes what its reverse DNS says"),
            "{line}"
        );
    }
}

#[test]
fn g3_03_defaults_relay_for_loopback_only() {
    let settings = settings("");
    let networks: Vec<String> = settings
        .access
        .relay_networks
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["127.0.0.0/8", "::1/128"]);
    assert_eq!(settings.server.hostname.as_str(), "relay.example.org");
    let [listener] = settings.listeners.as_slice() else {
        panic!("{:?}", settings.listeners)
    };
    assert_eq!(listener.addresses, ["127.0.0.1:2525".parse().unwrap()]);
    assert_eq!(listener.max_message_size, 50 << 20);
    assert_eq!(settings.queue.lifetime, Duration::from_secs(5 * 86_400));
    assert_eq!(settings.queue.retry.len(), 6);
    assert_eq!(settings.dns.dnssec, Dnssec::Validate);
    assert!(dangers(&settings).is_empty());
}

#[test]
fn every_key_that_is_in_effect_is_read() {
    let text = "[[listener]]\n[[certificate]]\n[[identity]]\n[[dkim]]\n[[route]]\n[[domain]]\n";
    let (layers, _) = layers::merge(Some(("x", text)), &[]);
    let layers = layers.unwrap();
    let mut reader = Reader::new("x", &layers);
    assert!(build::build(&mut reader, None).is_some());
    for name in keys::all().map(|key| key.name) {
        assert!(
            reader.asked.contains(name),
            "{name} is in the table, but nobody reads it"
        );
    }
}

#[test]
fn later_layers_win_and_lists_come_by_commas() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&text_file(
        &dir,
        "queue.lifetime = \"3d\"\nqueue.max-hops = 200\n",
    ));
    sources.environment = [
        ("SEALPOST__QUEUE__LIFETIME", "1d"),
        ("SEALPOST__QUEUE__RETRY", "1m, 2m"),
        ("SEALPOST__DELIVERY__TIMEOUTS__CONNECT", "250ms"),
        ("SEALPOST__DELIVERY__CONNECTIONS", "7"),
        ("SEALPOST__ADMIN__HTTP", "off"),
        ("SEALPOST__ACCESS__RELAY_NETWORKS", "192.0.2.0/24,127.0.0.1"),
        ("SEALPOST_UNRELATED", "1"),
        ("PATH", "/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let settings = load(&sources).unwrap().settings;
    assert_eq!(settings.queue.lifetime, Duration::from_secs(86_400));
    assert_eq!(settings.queue.retry, [60, 120].map(Duration::from_secs));
    assert_eq!(settings.queue.max_hops, 200);
    assert_eq!(
        settings.delivery.timeouts.connect,
        Duration::from_millis(250)
    );
    assert_eq!(settings.delivery.connections, 7);
    assert_eq!(settings.admin.http, None);
    assert_eq!(settings.access.relay_networks.len(), 2);
}

#[test]
fn all_problems_are_listed_at_once_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let text = text_file(
        &dir,
        "[servr]\nhostname = \"a.example\"\n\
         [queue]\nlifetyme = \"5d\"\nlifetime = 5\nretry = \"5m\"\nmax-hops = \"100\"\n\
         [delivery]\nconnections = 0\n\
         [[route]]\ntls = \"verifed\"\n",
    );
    let mut sources = sources(&text);
    sources.environment = vec![
        ("SEALPOST__QUEUE__BOUNCE_LIFETIME".into(), "soon".into()),
        ("SEALPOST__QUEUE__LIVETIME".into(), "1d".into()),
        ("SEALPOST__LISTENER__NAME".into(), "x".into()),
    ];
    let found = problems_of(&sources);
    for expected in [
        "sealpost.toml:4: servr: no such section; did you mean server?",
        "sealpost.toml:7: queue.lifetyme: no such key; did you mean queue.lifetime?",
        "sealpost.toml:8: queue.lifetime: must be a time span",
        "sealpost.toml:9: queue.retry: must be a list, not text",
        "sealpost.toml:10: queue.max-hops: must be a whole number",
        "sealpost.toml:12: delivery.connections: \"0\" is too small; it takes a whole number from 1",
        "sealpost.toml:13: route[0]: relay is missing",
        "sealpost.toml:14: route[0].tls: \"verifed\" is none of the possible values; it takes one of \"verified\"",
        "$SEALPOST__QUEUE__BOUNCE_LIFETIME: queue.bounce-lifetime: \"soon\" is not a time span",
        "$SEALPOST__QUEUE__LIVETIME: queue.livetime: no such key; did you mean queue.lifetime?",
        "$SEALPOST__LISTENER__NAME: listener.name: entries of [[listener]] come only from the file",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "missing: {expected}\nfound:\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), 11, "{}", found.join("\n"));
}

#[test]
fn mistakes_and_what_is_said_about_them() {
    for (toml, expected) in MISTAKES {
        let found = problems(toml);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{toml}\nexpected: {expected}\nfound:\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn no_host_name_is_said_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&text_file(&dir, ""));
    sources.node = "localhost".into();
    let found = problems_of(&sources);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("the system has no fully qualified name; set it"),
        "{found:?}"
    );
    sources.hosts = "127.0.1.1 relay.example.net localhost\n".into();
    let loaded = load(&sources).unwrap();
    assert_eq!(
        loaded.settings.server.hostname.as_str(),
        "relay.example.net"
    );
}

#[test]
fn entries_have_their_real_types() {
    let settings = settings(
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:2600\", \"[::1]:2600\"]\n\
         bare-newline = \"normalize\"\nmax-message-size = \"1MiB\"\n\
         [[route]]\nrecipient-domain = \"*.Example.ORG\"\nrelay = \"[2001:db8::1]:2525\"\ntls = \"dangerous-off\"\n\
         [[route]]\nsender-domain = \"news.example\"\nrelay = \"mail.example:587\"\n\
         [[domain]]\nname = \"bücher.example\"\nmta-sts = \"require\"\nmx = [\"*.MX.example\"]\ntls = \"verified\"\n",
    );
    let [listener] = settings.listeners.as_slice() else {
        panic!("{:?}", settings.listeners)
    };
    assert_eq!(listener.addresses.len(), 2);
    assert_eq!(listener.bare_newline, BareNewline::Normalize);
    let [first, second] = settings.routes.as_slice() else {
        panic!("{:?}", settings.routes)
    };
    assert_eq!(first.relay.to_string(), "[2001:db8::1]:2525");
    assert!(
        matches!(&first.recipient_domain, Some(DomainMatch::Below(d)) if d.as_str() == "example.org")
    );
    assert_eq!(second.relay.to_string(), "mail.example:587");
    assert_eq!(second.tls, RouteTls::Verified);
    let [rule] = settings.domains.as_slice() else {
        panic!("{:?}", settings.domains)
    };
    assert_eq!(rule.name.as_str(), "xn--bcher-kva.example");
    assert_eq!(rule.mx, ["*.mx.example"]);
    assert_eq!(rule.tls, Some(RequiredTls::Verified));
    let told = dangers(&settings);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("[2001:db8::1]:2525: dangerous-off"),
        "{told:?}"
    );
}

#[test]
fn a_weakening_that_has_ended_does_not_keep_the_server_from_starting() {
    let rule = "[[domain]]\nname = \"a.example\"\nmta-sts = \"dangerous-audit\"\nreason = \"r\"\n";
    let ended = problems(&format!("{rule}until = \"2026-02-28\"\n"));
    assert_eq!(ended.len(), 1);
    assert!(
        ended[0].contains("warning: domain[0].until: has passed"),
        "{ended:?}"
    );
    // A day counts to its end: the 90th day from noon of 2026-03-01 is 2026-05-30.
    assert!(problems(&format!("{rule}until = \"2026-05-30\"\n")).is_empty());
    assert!(!problems(&format!("{rule}until = \"2026-06-02\"\n")).is_empty());
}

#[test]
fn h10_07_h10_09_keys_belong_to_certificates_and_are_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let one = rcgen::generate_simple_self_signed(["relay.example.org".to_owned()]).unwrap();
    let two = rcgen::generate_simple_self_signed(["relay.example.org".to_owned()]).unwrap();
    let certificate = write("cert.pem", &one.cert.pem(), 0o644);
    let key = write("key.pem", &one.signing_key.serialize_pem(), 0o600);
    let open = write("open.pem", &one.signing_key.serialize_pem(), 0o644);
    let other = write("other.pem", &two.signing_key.serialize_pem(), 0o600);
    let listener = |key: &str| {
        problems(&format!(
            "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:2600\"]\ntls = \"optional\"\n\
             certificate = \"{certificate}\"\nprivate-key = \"{key}\"\n"
        ))
    };
    assert_eq!(listener(&key), [] as [String; 0]);
    assert!(listener(&open)[0].contains("is open to everybody (mode 644); chmod 0600"));
    assert!(listener(&other)[0].contains("do not belong together"));
    assert!(listener("/nowhere")[0].contains("/nowhere does not exist; put it there"));
}

#[test]
fn h10_09_i3_08_passwords_and_revocation_lists_are_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let shown = file.display().to_string();
    let login = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        problems(&format!(
            "[[route]]\nrelay = \"[smart.example]\"\nusername = \"u\"\npassword-file = \"{shown}\""
        ))
    };
    assert_eq!(login("secret\n", 0o600), [] as [String; 0]);
    assert!(login("secret\n", 0o604)[0].contains("is open to everybody (mode 604)"));
    assert!(login("\n", 0o600)[0].contains("the first line is empty"));
    std::fs::write(&file, "no list").unwrap();
    for (failure, word) in [("hard", "error"), ("soft", "warning")] {
        let found = problems(&format!(
            "[tls]\ncrls = [\"{shown}\"]\ncrl-failure = \"{failure}\""
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("no revocation list in it"),
            "{word}: {found:?}"
        );
    }
}

#[test]
fn g5_09_an_unwritable_store_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    // A file in the way stops root as well, whom permissions do not.
    let text = format!("server.data-dir = \"{}/data\"", file.display());
    let found = problems_of(&sources(&text));
    assert!(
        found
            .iter()
            .any(|line| line.contains("server.data-dir") && line.contains("is not a directory")),
        "{found:?}"
    );
    assert!(!dir.path().join("data").exists(), "checking makes nothing");
}

#[test]
fn untrusted_text_reaches_no_terminal() {
    let found = problems("queue.lifetime = \"\\u001b[31m5d\"");
    assert!(found[0].contains("?[31m5d"), "{found:?}");
    assert!(!found[0].contains('\u{1b}'));
}

#[test]
fn sample_and_reference_are_those_of_the_table() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, text) in [
        ("config/sealpost.toml", sample()),
        ("docs/configuration.md", reference()),
    ] {
        let path = root.join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            there, text,
            "{file} is stale: run this test again with UPDATE=1"
        );
    }
}

#[test]
fn the_sample_says_what_the_defaults_are() {
    let entry = |line: &str| {
        keys::ENTRY_SECTIONS
            .iter()
            .any(|name| line == format!("#[[{name}]]"))
    };
    let mut text = String::new();
    let mut in_entry = false;
    for line in sample().lines() {
        in_entry = entry(line) || (in_entry && !line.starts_with('['));
        let named = line
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with([' ', '[']));
        let key = named.and_then(|rest| rest.split_once(" = "));
        match key {
            // Keys without a default show an example; those would change something.
            Some((name, value)) if !in_entry => {
                let is_default =
                    keys::all().any(|key| key.split().1 == name && key.default == Some(value));
                if is_default {
                    text.push_str(named.unwrap_or_default());
                }
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let mut given = sources(&text);
    let mut empty = sources("");
    for sources in [&mut given, &mut empty] {
        // The standard directories need not be writable where tests run.
        let dir = std::env::temp_dir().display().to_string();
        sources.environment = vec![
            (
                "SEALPOST__SERVER__DATA_DIR".into(),
                format!("{dir}/sealpost"),
            ),
            (
                "SEALPOST__ADMIN__SOCKET".into(),
                format!("{dir}/control.sock"),
            ),
        ];
    }
    assert!(text.contains("lifetime = \"5d\"") && text.contains("connect = \"30s\""));
    assert_eq!(
        load(&given).unwrap().settings,
        load(&empty).unwrap().settings
    );
}

/// Single mistakes: what the file says, and what must be said about it.
const MISTAKES: &[(&str, &str)] = &[
    // Row G3-03: an open relay, also in halves.
    (
        "access.relay-networks = [\"0.0.0.0/0\"]",
        "would be an open relay",
    ),
    (
        "access.relay-networks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
        "would be an open relay",
    ),
    (
        "access.relay-networks = [\"192.0.2.1/24\"]",
        "did you mean \"192.0.2.0/24\"?",
    ),
    // Row G5-09: no FQDN.
    ("server.hostname = \"localhost\"", "is not fully qualified"),
    ("tls.roots = []", "no trust anchors"),
    (
        "tls.dangerous-extra-roots = [\"/nowhere.pem\"]",
        "/nowhere.pem does not exist; put it there",
    ),
    // Row H10-06 and the rule for passwords.
    (
        "[[route]]\nrelay = \"[smart.example]\"\ntls = \"policy\"\nusername = \"u\"\npassword-file = \"/p\"",
        "a password is only sent to a verified server",
    ),
    (
        "[[route]]\nrelay = \"[smart.example]\"\nusername = \"u\"",
        "password-file is missing",
    ),
    (
        "[[route]]\nrelay = \"192.0.2.1\"",
        "is an address: write it in brackets",
    ),
    ("[[route]]\nrelay = \"a.example:0\"", "has no valid port"),
    (
        "[[route]]\nrelay = \"a.example\"\n[[route]]\nrelay = \"b.example\"",
        "never used: route[0] matches the same mail",
    ),
    // What weakens needs an end and a reason.
    (
        "[[domain]]\nname = \"a.example\"\nmta-sts = \"dangerous-audit\"",
        "needs a reason",
    ),
    (
        "[[domain]]\nname = \"a.example\"\nmta-sts = \"dangerous-audit\"\nreason = \"r\"\nuntil = 2026-12-31",
        "is more than 90 days ahead",
    ),
    (
        "[[domain]]\nname = \"a.example\"\n[[domain]]\nname = \"A.example\"",
        "is already used by domain[0]",
    ),
    (
        "[[domain]]\nname = \"a.example\"\ndane = \"dangerous-off\"",
        "a rule that weakens protection needs a reason",
    ),
    (
        "[[domain]]\nname = \"a.example\"\ndane = \"dangerous-audit\"\nreason = \"r\"",
        "a rule that weakens protection needs an end",
    ),
    // Row H10-05: nothing but loopback without TLS.
    ("admin.http = \"0.0.0.0:8025\"", "is not loopback"),
    (
        "admin.http = \"0.0.0.0:8025\"\nadmin.dangerous-plain-http = true\nadmin.login-link = true",
        "which is not loopback",
    ),
    (
        "admin.certificate = \"/nonexistent/c.pem\"",
        "admin.private-key is missing",
    ),
    (
        "admin.token-file = \"/nonexistent/tokens\"",
        "/nonexistent/tokens",
    ),
    // Addresses are taken once.
    (
        "admin.http = \"127.0.0.1:25\"\n[[listener]]\nname = \"a\"\naddress = [\"0.0.0.0:25\"]",
        "is already taken",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:25\"]\ntls = \"optional\"",
        "certificate is missing",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = []",
        "is empty; name an address",
    ),
    (
        "[listener]\nname = \"a\"",
        "write [[listener]] in double brackets",
    ),
    // Who may log in.
    (
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:25\"]\nrole = \"submission\"",
        "nobody could log in",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:25\"]\nrole = \"submission\"\ntls = \"off\"",
        "without TLS nobody can log in",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:25\"]\nrole = \"submission\"",
        "certificate is missing",
    ),
    (
        "access.users-file = \"/no/such/file\"",
        "does not exist; `sealpost user add NAME` makes it",
    ),
    (
        "[[identity]]\nname = \"a\"\ncertificates = [\"sha256:00\"]",
        "has no 64 hexadecimal digits",
    ),
    (
        "[[identity]]\nname = \"a\"\ncertificates = [\"cn:x\"]",
        "begins with none of these words",
    ),
    (
        "[[identity]]\nname = \"a\"\nsenders = [\"a b\"]",
        "is no address and no domain",
    ),
    (
        "[[identity]]\nname = \"a\"\n[[identity]]\nname = \"a\"",
        "is already used by identity[0]",
    ),
    (
        "[[identity]]\nname = \"a\"\ncertificates = [\"dns:x.test\"]\n[[identity]]\nname = \"b\"\ncertificates = [\"dns:X.test\"]",
        "is already one of identity[0]",
    ),
    ("reporting.contact-info = \"x\"", "is not a mail address"),
    (
        "access.xclient-hosts = [\"10.0.0.0/7\", \"::/0\"]",
        "may pretend to be anybody",
    ),
    (
        "access.proxy-hosts = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
        "may pretend to be anybody",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = [\"127.0.0.1:25\"]\nclient-ca = \"/ca\"",
        "without TLS no client has a certificate",
    ),
    (
        "[[certificate]]\nserver-names = [\"a.test\"]",
        "private-key",
    ),
    (
        "dns.dnssec = \"trust-ad\"\ndns.servers = [\"127.0.0.1:53\", \"192.0.2.1:53\"]",
        "192.0.2.1:53 is not on loopback",
    ),
    (
        "dns.servers = [\"system\", \"127.0.0.1:53\"]",
        "cannot stand beside addresses",
    ),
    // A look-up takes no longer than that in all.
    ("dns.timeout = \"11s\"", "10s"),
    ("log.level = \"loud=very\"", "is no filter"),
    ("log.syslog-name = \"a b\"", "ends the name in a log line"),
    (
        "telemetry.otlp.endpoint = \"127.0.0.1:4318\"",
        "is no address of a collector",
    ),
    (
        "telemetry.otlp.endpoint = \"https://token@collector.example\"",
        "is no address of a collector",
    ),
    (
        "telemetry.otlp.headers-file = \"/nonexistent/headers\"",
        "/nonexistent/headers",
    ),
    ("telemetry.otlp.sample-one-in = 0", "is too small"),
    ("delivery.rate-per-host = \"fast\"", "is not a rate"),
    ("queue.lifetime = \"90\"", "is not a time span"),
    ("queue.lifetime = \"60d\"", "is too large"),
    // The file itself.
    ("queue = 5", "is a section, not a number"),
    ("\"a.b\" = 5", "no such key"),
    (
        "queue.lifetime = \"1d\"\nqueue.lifetime = \"2d\"",
        "sealpost.toml:5: not TOML: duplicate key",
    ),
    ("[queue\n", "not TOML"),
];
