//! `sealpost man`: pages that man shows, without complaint.

use std::process::Command;

use sealpost_tests::sealpost_binary;

#[test]
fn pages_are_written_and_man_shows_them_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("man1");
    let written = Command::new(sealpost_binary())
        .args(["man", "--directory"])
        .arg(&directory)
        .output()
        .unwrap();
    assert!(written.status.success(), "{written:?}");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in [
        "sealpost.1",
        "sealpost-queue-list.1",
        "sealpost-policy-exempt.1",
    ] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    for name in &names {
        let file = directory.join(name);
        let shown = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-P-c"])
            .arg(&file)
            .output()
            .expect("groff, which the package groff-base has");
        let complaints = String::from_utf8_lossy(&shown.stderr).into_owned();
        assert!(
            shown.status.success() && complaints.is_empty(),
            "{name}: {complaints}"
        );
        // As on a screen: letters that are struck twice stand once.
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let plain = overstruck(&text).replace(['\u{2010}', '\u{2212}'], "-");
        let command = name.trim_end_matches(".1");
        let words: Vec<&str> = plain.split_whitespace().collect();
        assert!(words.windows(2).any(|w| w == [command, "-"]), "{plain}");
        assert!(plain.contains("SYNOPSIS"), "{plain}");
    }
}

#[test]
fn the_main_page_goes_to_standard_output() {
    let printed = Command::new(sealpost_binary()).arg("man").output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let page = String::from_utf8(printed.stdout).unwrap();
    for words in [
        ".TH SEALPOST 1",
        "queue",
        ".SH \"EXIT STATUS\"",
        "/etc/sealpost/sealpost.toml",
    ] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    // Where nothing can be written, it says so.
    let refused = Command::new(sealpost_binary())
        .args(["man", "--directory", "/proc/no/such"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(73), "{refused:?}");
}

/// Without the backspaces by which old terminals made bold letters.
fn overstruck(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => {
                plain.pop();
            }
            c => plain.push(c),
        }
    }
    plain
}
