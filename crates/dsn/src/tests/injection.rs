//! Row F2-16: untrusted text cannot inject headers, MIME boundaries or control characters.

use proptest::prelude::*;

use super::mime::{all, get, read};
use super::rows::{Case, reported};
use crate::fixtures::recipient;
use crate::{Action, Diagnostic, Host, Original, Policy, RecipientReport, ReturnPath, Story};

/// The boundary that the random bytes of the tests make.
const BOUNDARY: &str = "=_07070707070707070707070707070707";

const CORPUS: [&str; 9] = [
    "550 x\r\nX-Injected: yes",
    "550 x\r\n\r\nAction: delivered",
    "550 x\n\nFinal-Recipient: rfc822;evil@d.test",
    "550 x\r\n--=_07070707070707070707070707070707--\r\n",
    "550 \x1b[2J\x07\x00\u{9b}31m",
    "550 \u{202e}gnp.exe\u{2028}X-Injected: yes",
    ".\r\n.\r\nMAIL FROM:<x>",
    "\r\n",
    "=?utf-8?B?AAAA?= =0D=0AX-Injected: yes",
];

/// The text in every place that somebody else fills.
fn everywhere(evil: &str, return_path: ReturnPath) -> Vec<u8> {
    let mut r = recipient("b@d.test");
    r.orcpt = Some(format!("rfc822;{evil}").into());
    let hosts = [Host {
        name: evil,
        ip: None,
        failure: evil,
    }];
    let policies = [Policy {
        source: evil,
        mode: evil,
        id: Some(evil),
        published_at: evil,
        fetched_at: None,
        expires_at: None,
    }];
    let report = |diagnostic| RecipientReport {
        remote_mta: Some(evil),
        diagnostic: Some(diagnostic),
        summary: evil,
        story: Some(Story {
            domain: evil,
            policies: &policies,
            hosts: &hosts,
            advice: evil,
        }),
        ..reported(&r, Action::Failed)
    };
    let headers = format!("Subject: {}\r\n", evil.replace("\r\n\r\n", "\r\n"));
    let mut case = Case {
        original: Original::Headers(headers.as_bytes()),
        return_path,
        ..Case::default()
    };
    case.envelope.envid = Some(evil.into());
    case.envelope.arrival.helo = evil.into();
    case.envelope.arrival.message_id = Some(evil.into());
    case.build(&[
        report(Diagnostic::Smtp(evil)),
        report(Diagnostic::Local(evil)),
    ])
    .message
}

fn check(evil: &str, return_path: ReturnPath) {
    let message = everywhere(evil, return_path);
    let report = read(&message);
    assert_eq!(report.parts.len(), 3, "{evil:?}");
    assert!(all(&report.header, "X-Injected").is_empty(), "{evil:?}");
    let (fields, recipients) = report.machine();
    assert_eq!(recipients.len(), 2, "{evil:?}");
    for block in recipients.iter().chain([&fields]) {
        assert!(all(block, "X-Injected").is_empty(), "{evil:?}");
    }
    for block in &recipients {
        assert_eq!(get(block, "Action"), "failed", "{evil:?}");
        assert_eq!(get(block, "Final-Recipient"), "rfc822;b@d.test", "{evil:?}");
    }
    let shown = report.human().replace("\r\n", "");
    assert!(!shown.chars().any(char::is_control), "{evil:?}: {shown:?}");
    assert!(
        report.parts[1]
            .body
            .iter()
            .all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n'))
    );
}

#[test]
fn f2_16_the_corpus() {
    for evil in CORPUS {
        for return_path in [ReturnPath::SevenBit, ReturnPath::EightBit, ReturnPath::Utf8] {
            check(evil, return_path);
        }
    }
}

#[test]
fn f2_16_a_boundary_in_the_message_is_avoided() {
    let original = format!(
        "Subject: x\r\n\r\n--{BOUNDARY}\r\nContent-Type: text/html\r\n\r\nx\r\n--{BOUNDARY}--\r\n"
    );
    let r = recipient("b@d.test");
    let mut case = Case {
        original: Original::Whole(original.as_bytes()),
        ..Case::default()
    };
    case.envelope.ret = Some(mail_types::Ret::Full);
    let report = case.read(&[reported(&r, Action::Failed)]);
    assert_eq!(report.parts.len(), 3);
    assert_eq!(report.parts[2].body, original.as_bytes());
    assert!(!get(&report.header, "Content-Type").contains(BOUNDARY));
}

#[test]
fn f2_16_only_a_well_formed_message_id_is_repeated() {
    for bad in [
        "1@s.test",
        "<1 @s.test>",
        "<1>",
        "<@>",
        "<1@s\r\n.test>",
        "<a@b> <c@d>",
        "<ü@s.test>",
    ] {
        let mut case = Case::default();
        case.envelope.arrival.message_id = Some(bad.into());
        let r = recipient("b@d.test");
        let report = case.read(&[reported(&r, Action::Failed)]);
        assert!(all(&report.header, "References").is_empty(), "{bad}");
    }
}

proptest! {
    #[test]
    fn f2_16_any_text(evil in any::<String>()) {
        check(&evil, ReturnPath::SevenBit);
        check(&evil, ReturnPath::Utf8);
    }

    #[test]
    fn f2_16_any_message(bytes: Vec<u8>, path in 0usize..3) {
        let r = recipient("b@d.test");
        let mut case = Case {
            original: Original::Whole(&bytes),
            return_path: [ReturnPath::SevenBit, ReturnPath::EightBit, ReturnPath::Utf8][path],
            ..Case::default()
        };
        case.envelope.ret = Some(mail_types::Ret::Full);
        let built = case.build(&[reported(&r, Action::Failed)]);
        if case.return_path == ReturnPath::SevenBit {
            prop_assert!(built.message.is_ascii());
        }
        prop_assert!(!built.message.contains(&0));
        let mut last = 0;
        for (i, b) in built.message.iter().enumerate() {
            prop_assert!(*b != b'\n' || last == b'\r', "lone LF at {}", i);
            last = *b;
        }
    }
}
