//! Which crate may use which. Pure crates know only `mail-types`; I/O crates know pure ones and
//! `journal`, never one another; `delivery`, `admin`, `audit` and `sealpost` join them.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::repository::root;

#[test]
fn crates_use_only_what_the_table_allows() {
    let metadata = metadata();
    let members = members(&metadata);
    let table: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    for package in &members {
        let allowed = table.get(package.name.as_str());
        let Some(allowed) = allowed else {
            panic!(
                "{} is a new crate: give it a row in the table",
                package.name
            );
        };
        for dependency in &package.dependencies {
            let is_member = members.iter().any(|m| m.name.as_str() == dependency.name);
            if !is_member || dependency.name == package.name.as_str() {
                continue;
            }
            let of_tests = dependency.kind == DependencyKind::Development
                && FOR_TESTS.contains(&dependency.name.as_str());
            assert!(
                of_tests || allowed.contains(&dependency.name.as_str()),
                "{} must not use {}",
                package.name,
                dependency.name
            );
        }
        for name in *allowed {
            let is_used = package.dependencies.iter().any(|d| d.name == *name);
            assert!(is_used, "{} may use {name}, but does not", package.name);
        }
    }
    for name in table.keys() {
        let exists = members.iter().any(|m| m.name.as_str() == *name);
        assert!(
            exists,
            "{name} stands in the table, but there is no such crate"
        );
    }
}

/// The README's first command names no package: with two programs cargo would not know which.
#[test]
fn cargo_run_runs_the_relay() {
    let metadata = metadata();
    let packages = metadata.workspace_default_packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let programs: Vec<&str> = targets
        .filter(|target| target.is_bin())
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(programs, ["sealpost"]);
}

#[test]
fn pure_crates_use_no_input_or_output() {
    let metadata = metadata();
    for package in members(&metadata) {
        if !PURE.contains(&package.name.as_str()) {
            continue;
        }
        for dependency in &package.dependencies {
            assert!(
                dependency.kind == DependencyKind::Development
                    || PURE.contains(&dependency.name.as_str())
                    || FOR_PURE.contains(&dependency.name.as_str()),
                "{} is pure and must not use {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn pure_crates_ban_clock_files_and_sockets() {
    for name in PURE {
        let path = root().join("crates").join(name).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for ban in [
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "std::fs::File",
            "std::net::TcpStream",
            "std::env::var",
        ] {
            assert!(text.contains(ban), "{} does not ban {ban}", path.display());
        }
    }
}

pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .expect("cargo metadata")
}

pub(crate) fn members(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

const PURE: [&str; 17] = [
    "attempt",
    "attempt-notes",
    "dane",
    "dkim",
    "dns-health",
    "dsn",
    "fairness",
    "leases",
    "mail-types",
    "mta-sts",
    "nxdomain-guard",
    "reasons",
    "routes",
    "smtp-proto",
    "submission",
    "tls-rpt",
    "tls-words",
];

/// Crates of others that only compute.
const FOR_PURE: [&str; 15] = [
    "aws-lc-rs",
    "bytes",
    "data-encoding",
    "flate2",
    "idna",
    "ipnet",
    "jiff",
    "memchr",
    "rustls-pki-types",
    "serde",
    "serde_json",
    "stringprep",
    "thiserror",
    "x509-parser",
    "zeroize",
];

/// What the tests of any crate above the pure ones may use.
const FOR_TESTS: [&str; 1] = ["testkit"];

/// Crate, and the workspace's crates that it may use.
const EDGES: [(&str, &[&str]); 52] = [
    ("mail-types", &[]),
    ("attempt", &["mail-types", "reasons"]),
    ("attempt-notes", &["attempt"]),
    ("dane", &["mail-types"]),
    ("dkim", &["mail-types"]),
    ("dns-health", &[]),
    ("dsn", &["mail-types"]),
    ("mta-sts", &["mail-types"]),
    ("reasons", &["mail-types"]),
    ("routes", &["mail-types"]),
    ("smtp-proto", &["mail-types"]),
    // A signature is part of the form that a message leaves in.
    ("submission", &["dkim", "mail-types"]),
    // What of a policy stands in a report.
    ("tls-rpt", &["mail-types", "mta-sts"]),
    (
        "tls-findings",
        &["mail-types", "mta-sts", "reasons", "smtp-client", "tls-rpt"],
    ),
    (
        "tls-reports",
        &["clocks", "journal", "mail-types", "tls-rpt"],
    ),
    ("tls-words", &[]),
    ("clocks", &["mail-types"]),
    ("event-log", &["attempt", "mail-types"]),
    ("journal", &[]),
    ("api-types", &[]),
    ("control-group", &[]),
    ("proxy-protocol", &[]),
    ("file-rights", &[]),
    ("terminal", &["mail-types"]),
    ("metrics", &["attempt", "mail-types"]),
    ("fairness", &["mail-types"]),
    ("leases", &["mail-types"]),
    (
        "outbound-queue",
        &[
            "attempt",
            "attempt-notes",
            "fairness",
            "journal",
            "leases",
            "mail-types",
        ],
    ),
    ("nxdomain-guard", &["mail-types"]),
    ("pauses", &["mail-types"]),
    (
        "policy-cache",
        &["clocks", "journal", "mail-types", "mta-sts", "policy-fetch"],
    ),
    ("policy-fetch", &["mail-types", "mta-sts", "tls-words"]),
    ("name-servers", &["dns-health", "mail-types"]),
    ("resolver", &["dns-health", "mail-types", "name-servers"]),
    ("sendmail", &["mail-types", "submission"]),
    // A test holds its defaults against those of the signer.
    ("setting-keys", &["dkim"]),
    // check-config reads a DKIM key as the daemon does.
    (
        "settings",
        &[
            "dkim",
            "file-rights",
            "mail-types",
            "setting-keys",
            "tls-words",
        ],
    ),
    (
        "smtp-client",
        &["dane", "mail-types", "reasons", "smtp-proto", "tls-words"],
    ),
    (
        "smtp-server",
        &["mail-types", "proxy-protocol", "smtp-proto", "tls-words"],
    ),
    (
        "delivery",
        &[
            "attempt",
            "dane",
            "dsn",
            "fairness",
            "mail-types",
            "mta-sts",
            "nxdomain-guard",
            "outbound-queue",
            "pauses",
            "policy-cache",
            "resolver",
            "routes",
            "smtp-client",
            "smtp-proto",
            "tls-findings",
            "tls-rpt",
        ],
    ),
    (
        "api-routes",
        &["api-types", "outbound-queue", "policy-cache"],
    ),
    (
        "admin",
        &[
            "api-routes",
            "api-types",
            "attempt",
            "delivery",
            "mail-types",
            "metrics",
            "mta-sts",
            "outbound-queue",
            "policy-cache",
            "routes",
            "tls-reports",
            "tls-rpt",
        ],
    ),
    (
        "audit",
        &[
            "attempt",
            "dane",
            "delivery",
            "mail-types",
            "mta-sts",
            "policy-cache",
            "routes",
            "smtp-client",
            "tls-rpt",
        ],
    ),
    (
        "web",
        &[
            "admin",
            "attempt",
            "audit",
            "mail-types",
            "outbound-queue",
            "policy-cache",
            "tls-words",
        ],
    ),
    // Values of delivery's values.
    (
        "spans",
        &[
            "attempt",
            "delivery",
            "mail-types",
            "outbound-queue",
            "smtp-client",
        ],
    ),
    (
        "report-ports",
        &[
            "attempt",
            "delivery",
            "dkim",
            "mail-types",
            "metrics",
            "mta-sts",
            "outbound-queue",
            "policy-cache",
            "settings",
            "smtp-client",
            "tls-reports",
            "tls-rpt",
        ],
    ),
    ("doors", &["admin", "web"]),
    (
        "sealpost",
        &[
            "admin",
            "attempt",
            "audit",
            "control-group",
            "delivery",
            "dkim",
            "doors",
            "dsn",
            "event-log",
            "file-rights",
            "journal",
            "mail-types",
            "metrics",
            "mta-sts",
            "outbound-queue",
            "policy-cache",
            "report-ports",
            "resolver",
            "routes",
            "sendmail",
            "settings",
            "smtp-client",
            "smtp-server",
            "spans",
            "submission",
            "terminal",
            "tls-reports",
            "tls-rpt",
            "tls-words",
            "users",
            "web",
        ],
    ),
    ("testkit", &[]),
    ("users", &["smtp-proto"]),
    ("xtask", &[]),
    (
        "sealpost-tests",
        &[
            "attempt",
            "dane",
            "dkim",
            "dsn",
            "mail-types",
            "mta-sts",
            "resolver",
            "settings",
            "outbound-queue",
            "proxy-protocol",
            "smtp-proto",
            "submission",
            "testkit",
            "tls-reports",
            "tls-rpt",
            "users",
        ],
    ),
];
