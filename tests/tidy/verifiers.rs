//! What certificates are verified with: our own verifiers in one audited place, libraries that are
//! not older than their fixes.

use crate::repository::{is_test, read, root, sources};

#[test]
fn i4_08_rustls_verifier_is_replaced_in_one_place_only() {
    let words = [
        concat!(".danger", "ous()"),
        concat!("ServerCertVerifier", " for"),
        concat!("danger_accept", "_invalid"),
    ];
    let mut places = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let text = read(path);
        if words.iter().any(|word| text.contains(word)) {
            places.push(path.clone());
        }
    }
    assert_eq!(
        places, AUDITED,
        "each of these replaces what rustls verifies"
    );
}

#[test]
fn i4_06_nothing_can_write_session_keys() {
    let word = concat!("KeyLog", "File");
    for path in sources().iter().filter(|path| !is_test(path)) {
        assert!(!read(path).contains(word), "{path}");
    }
}

#[test]
fn i2_04_i3_09_webpki_has_its_fixes() {
    // Name constraints on wildcards and empty subtrees: RUSTSEC-2026-0098 and -0099; distribution
    // points of revocation lists: 0.103.10.
    let (major, minor, patch) = locked("rustls-webpki");
    assert!(
        (major, minor, patch) >= (0, 103, 12),
        "{major}.{minor}.{patch}"
    );
}

#[test]
fn i2_12_the_version_of_the_built_in_roots_is_told_as_it_is() {
    let (major, minor, patch) = locked("webpki-roots");
    let text = read("crates/smtp-client/src/roots.rs");
    let told = format!("\"webpki-roots {major}.{minor}.{patch}\"");
    assert!(text.contains(&told), "roots.rs does not say {told}");
}

/// The version of a package in `Cargo.lock`.
fn locked(name: &str) -> (u32, u32, u32) {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let start = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = lock.split_once(&start).expect("it is used");
    let (version, _) = rest.split_once('"').expect("a version");
    let mut parts = version
        .split('.')
        .map(|part| part.parse().expect("a number"));
    let mut part = || parts.next().expect("three numbers");
    (part(), part(), part())
}

const AUDITED: [&str; 1] = ["crates/smtp-client/src/verify.rs"];
