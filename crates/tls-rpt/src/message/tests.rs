use super::*;
use crate::{Day, Finding, Policy, Report, Tally, report_id};

fn day() -> Day {
    "2026-03-01".parse().unwrap()
}

fn identity(gzip: bool) -> Identity {
    Identity {
        organization_name: "Company-X".to_owned(),
        contact_info: Mailbox::parse("tls-reports@x.test").unwrap(),
        gzip,
    }
}

fn encoded(domain: &str, gzip: bool) -> Encoded {
    let mut tally = Tally::new(day());
    tally.note(&Finding {
        at: day().begin(),
        domain,
        policy: Policy::NoPolicyFound,
        failure: None,
    });
    let id = report_id(day(), domain, &[7; 16], "x.test");
    let counts = tally.of(domain).unwrap();
    Report::new(counts, domain, day(), &identity(gzip), id).encode(usize::MAX)
}

fn mail(domain: &str, gzip: bool) -> String {
    let to = Mailbox::parse("r@y.test").unwrap();
    let report = encoded(domain, gzip);
    let date = Timestamp::from_secs(1_772_412_000);
    let mail = message(&report, &identity(gzip), &to, date, "<m@x.test>");
    String::from_utf8(mail).unwrap()
}

/// The header, unfolded, and the body.
fn split(mail: &str) -> (Vec<String>, &str) {
    let (header, body) = mail.split_once("\r\n\r\n").unwrap();
    let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    (header.split("\r\n").map(str::to_owned).collect(), body)
}

#[test]
fn b4_09_b4_10_b4_16_the_header() {
    let text = mail("y.test", true);
    let (header, _) = split(&text);
    assert_eq!(
        header,
        [
            "From: <tls-reports@x.test>",
            "Date: Mon, 02 Mar 2026 00:40:00 +0000",
            "To: <r@y.test>",
            "Subject: Report Domain: y.test Submitter: x.test Report-ID: \
             <2026-03-01.y.test.07070707070707070707070707070707@x.test>",
            "Message-ID: <m@x.test>",
            "TLS-Report-Domain: y.test",
            "TLS-Report-Submitter: x.test",
            "TLS-Required: No",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_tls-report\"",
        ]
    );
}

#[test]
fn b4_08_a_text_part_and_then_the_report() {
    for (gzip, media_type) in [
        (true, "application/tlsrpt+gzip"),
        (false, "application/tlsrpt+json"),
    ] {
        let text = mail("y.test", gzip);
        let (_, body) = split(&text);
        let parts: Vec<&str> = body.split("--=_tls-report").collect();
        let [preamble, human, machine, end] = parts[..] else {
            panic!("{body}")
        };
        assert!(preamble.ends_with("\r\n\r\n"), "{preamble:?}");
        assert_eq!(end, "--\r\n");
        assert!(human.starts_with("\r\nContent-Type: text/plain; charset=us-ascii\r\n"));
        assert!(
            human.contains("about y.test\r\nof 2026-03-01 (UTC)"),
            "{human}"
        );
        let (head, content) = machine.split_once("\r\n\r\n").unwrap();
        let report = encoded("y.test", gzip);
        assert_eq!(
            head,
            format!(
                "\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment;\r\n\tfilename=\"{}\"",
                report.file_name()
            )
        );
        assert!(content.lines().all(|line| (1..=76).contains(&line.len())));
        let content: String = content.split_ascii_whitespace().collect();
        let content = data_encoding::BASE64.decode(content.as_bytes()).unwrap();
        assert_eq!(content, report.content());
    }
}

/// The longest names make no line that may not be (RFC 5322 section 2.1.1), and all is 7-bit.
#[test]
fn b4_08_b4_10_lines_are_short_and_end_in_crlf() {
    let label = "a".repeat(61);
    let longest = format!("{label}.{label}.{label}.{label}.test");
    assert_eq!(longest.len(), 252);
    let text = mail(&longest, true);
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    for line in text.strip_suffix("\r\n").unwrap().split("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n']), "{line}");
    }
    let (header, _) = split(&text);
    let subject = header
        .iter()
        .find(|field| field.starts_with("Subject: "))
        .unwrap();
    let words: Vec<&str> = subject.split(' ').collect();
    assert_eq!(words[..3], ["Subject:", "Report", "Domain:"]);
    assert_eq!(
        (words[3], words[4], words[5]),
        (&*longest, "Submitter:", "x.test")
    );
    assert_eq!(words[6], "Report-ID:");
    assert!(words[7].starts_with('<') && words[7].ends_with("@x.test>"));
    assert_eq!(words.len(), 8);
}
