//! `sealpost --version` tells how old the built-in authorities are.

use std::process::Command;

use sealpost_tests::sealpost_binary;

#[test]
fn i2_12_the_version_names_the_list_of_authorities() {
    let output = Command::new(sealpost_binary())
        .arg("--version")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("sealpost "), "{text}");
    assert!(
        text.contains("webpki-roots 1.") && text.contains(" authorities"),
        "{text}"
    );
}
