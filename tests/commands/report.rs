//! `sealpost report`: what is not there says so.

use std::process::Command;

use sealpost_tests::sealpost_binary;

#[test]
fn tls_reports_are_said_not_to_be_in_this_version() {
    for arguments in [&["list"][..], &["show", "--json"], &["send"], &[]] {
        let mut command = Command::new(sealpost_binary());
        let output = command.arg("report").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("not in this version"), "{said}");
    }
}
