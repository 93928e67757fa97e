//! The same input in all kinds of parts, and input that makes no sense.

use proptest::prelude::*;

use super::*;

/// A batch of commands in which each kind of content occurs.
const BATCH: &str = "EHLO c.test\r\nNOOP\r\nMAIL FROM:<a@b.test> SIZE=10\r\nRCPT TO:<c@d.test>\r\n\
    RCPT TO:<bad\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r.\r\n\r\n.\r\nFROB\r\nMAIL FROM:<>\r\n\
    RCPT TO:<e@f.test>\r\nBDAT 7\r\nQUIT\r\n\rBDAT 3 LAST\r\n\n.\rBDAT 3\r\nxyzVRFY x\r\nQUIT\r\n";

fn run(parts: &[&[u8]]) -> (String, Vec<Vec<u8>>, usize) {
    let normalize = Peer {
        bare_newline: BareNewline::Normalize,
        ..peer()
    };
    let mut driver = Driver::new(settings(), normalize);
    for part in parts {
        driver.send(part);
    }
    let bodies = driver.accepted.into_iter().map(|(_, body)| body).collect();
    (driver.replies, bodies, driver.notices.len())
}

#[test]
fn e4_22_split_at_every_offset() {
    let batch = BATCH.as_bytes();
    let whole = run(&[batch]);
    assert_eq!(
        codes(&whole.0),
        [
            250, 250, 250, 250, 501, 354, 250, 500, 250, 250, 250, 250, 503, 252, 221
        ]
    );
    assert_eq!(whole.1.len(), 2);
    for at in 0..=batch.len() {
        assert_eq!(run(&[&batch[..at], &batch[at..]]), whole, "split at {at}");
    }
    let octets: Vec<&[u8]> = batch.chunks(1).collect();
    assert_eq!(run(&octets), whole, "octet by octet");
}

#[test]
fn e4_22_a_hundred_commands_in_one_segment() {
    let mut batch = String::from(EHLO);
    for n in 0..99 {
        batch += ["NOOP\r\n", "RSET\r\n", "VRFY x\r\n"][n % 3];
    }
    let mut driver = Driver::plain();
    assert_eq!(driver.codes(batch.as_bytes()).len(), 100);
}

fn command() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "EHLO x",
        "HELO x",
        "MAIL FROM:<a@b.test>",
        "MAIL FROM:<>",
        "RCPT TO:<c@d.test>",
        "RCPT TO:<postmaster>",
        "RSET",
        "NOOP",
        "VRFY a",
        "EXPN a",
        "HELP",
        "DATA x",
        "RCPT TO:<a",
        "STARTTLS",
        "XFORWARD IDENT=1",
        "AUTH PLAIN",
        "BDAT 0",
        "BDAT 0 LAST",
        "MAIL FROM:<> X=1",
    ]);
    prop_oneof![
        3 => known.prop_map(str::to_owned),
        1 => "[ -~]{0,30}".prop_filter("other commands", |line| {
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            !matches!(verb.as_str(), "DATA" | "BDAT" | "QUIT")
        }),
    ]
}

proptest! {
    #[test]
    fn e4_11_one_reply_for_each_command(
        commands in prop::collection::vec(command(), 0..40),
        step in 1usize..50,
    ) {
        let mut options = settings();
        options.max_errors = u32::MAX;
        let mut driver = Driver::new(options, peer());
        let mut batch = commands.join("\r\n");
        if !commands.is_empty() {
            batch += "\r\n";
        }
        for part in batch.as_bytes().chunks(step) {
            driver.send(part);
        }
        prop_assert!(!driver.closed);
        prop_assert_eq!(codes(&driver.replies).len(), commands.len());
        // Row E4-27: an enhanced status of the code's class on each line but EHLO's and HELO's.
        for line in driver.replies.split_terminator("\r\n") {
            prop_assert!(!line.contains(['\r', '\n']) && line.len() <= 510);
            let greeting = line.starts_with("250-") || line == "250 CHUNKING" || line == "250 relay.test";
            let hello = line.starts_with("501 Syntax: ");
            prop_assert!(greeting || hello || line[4..].starts_with(&format!("{}.", &line[..1])), "{}", line);
        }
    }

    #[test]
    fn any_octets_any_parts(
        octets in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(BATCH.split_inclusive("\r\n").map(|l| l.as_bytes().to_vec()).collect::<Vec<_>>()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ], 0..30).prop_map(|v| v.concat()),
        step in 1usize..40,
    ) {
        let whole = run(&[&octets]);
        let parts: Vec<&[u8]> = octets.chunks(step).collect();
        let split = run(&parts);
        // STARTTLS is not offered here, so parts never matter.
        prop_assert_eq!(split, whole);
    }
}
