//! `cargo xtask demo`, but for the building.

use std::process::Command;
use std::time::{Duration, Instant};

use sealpost_tests::sealpost_binary;

#[test]
fn the_demonstration_shows_all_six_outcomes() {
    let sealpost = sealpost_binary();
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("SEALPOST_BIN", sealpost)
        .output()
        .unwrap();
    let took = begun.elapsed();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{shown}\n{errors}");
    assert_eq!(errors, "");
    for (domain, outcome) in [
        ("enforce-good.test", "delivered over verified TLS"),
        ("enforce-expired.test", "waits: cert-expired"),
        ("enforce-plain.test", "waits: starttls-not-offered"),
        ("enforce-unlisted.test", "waits: mx-not-in-policy"),
        ("testing-expired.test", "delivered over unverified TLS"),
        ("no-policy.test", "delivered in plain text"),
    ] {
        let line = shown
            .lines()
            .find(|line| line.contains(domain) && line.contains(outcome));
        assert!(
            line.is_some_and(|line| line.ends_with("  as expected")),
            "{domain}\n{shown}"
        );
    }
    assert!(shown.ends_with("6 of 6 as expected\n"), "{shown}");
    for wanted in [
        "$ sealpost queue summary\n",
        "$ sealpost explain ",
        "policy.fetched",
        "policy.testing-would-fail",
    ] {
        assert!(shown.contains(wanted), "{wanted}\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "colour belongs to terminals");
    assert!(took < Duration::from_secs(30), "it took {took:?}");
}
