use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;

use mail_types::Timestamp;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::*;
use crate::{Failure, Finding, Tally, file_name, message};

const STS: &str =
    "version: STSv1\r\nmode: testing\r\nmx: *.mail.y.test\r\nmx: Mx.y.test\r\nmax_age: 86400\r\n";
const NODE: [u8; 16] = [7; 16];

fn day() -> Day {
    "2026-03-01".parse().unwrap()
}

fn identity() -> Identity {
    Identity {
        organization_name: "Company-X".to_owned(),
        contact_info: Mailbox::parse("tls-reports@x.test").unwrap(),
        gzip: true,
    }
}

fn finding<'a>(policy: Policy<'a>, failure: Option<Failure<'a>>) -> Finding<'a> {
    Finding {
        at: Timestamp::from_secs(1_772_323_200),
        domain: "y.test",
        policy,
        failure,
    }
}

fn expired() -> Failure<'static> {
    Failure {
        result: ResultType::CertificateExpired,
        sending_ip: Some("2001:db8:abcd:12:0:0:0:1".parse().unwrap()),
        mx: Some("mx1.mail.y.test"),
        helo: Some("mx1"),
        receiving_ip: Some("::ffff:203.0.113.58".parse().unwrap()),
        reason: Some("expired".into()),
    }
}

fn fetch(result: ResultType) -> Failure<'static> {
    Failure {
        result,
        sending_ip: None,
        mx: None,
        helo: None,
        receiving_ip: None,
        reason: None,
    }
}

fn report_of<'a>(findings: impl IntoIterator<Item = Finding<'a>>) -> Report {
    let mut tally = Tally::new(day());
    findings
        .into_iter()
        .for_each(|finding| tally.note(&finding));
    let id = report_id(day(), "y.test", &NODE, "x.test");
    Report::new(
        tally.of("y.test").unwrap(),
        "y.test",
        day(),
        &identity(),
        id,
    )
}

fn value(report: &Report) -> Value {
    serde_json::from_slice(&report.to_json(usize::MAX)).unwrap()
}

/// The example of RFC 8460 appendix B, with what we say beside.
#[test]
fn b3_02_b3_06_b3_07_b3_08_b3_10_b3_11_b3_12_the_whole_report() {
    let good = finding(Policy::Sts(STS), None);
    let bad = finding(Policy::Sts(STS), Some(expired()));
    let not = finding(
        Policy::Sts(STS),
        Some(fetch(ResultType::StsPolicyFetchError)),
    );
    let report = report_of([good, bad.clone(), not, bad]);
    assert_eq!(
        value(&report),
        json!({
            "organization-name": "Company-X",
            "date-range": {
                "start-datetime": "2026-03-01T00:00:00Z",
                "end-datetime": "2026-03-01T23:59:59Z",
            },
            "contact-info": "tls-reports@x.test",
            "report-id": "2026-03-01.y.test.07070707070707070707070707070707@x.test",
            "policies": [{
                "policy": {
                    "policy-type": "sts",
                    "policy-string": [
                        "version: STSv1",
                        "mode: testing",
                        "mx: *.mail.y.test",
                        "mx: Mx.y.test",
                        "max_age: 86400",
                    ],
                    "policy-domain": "y.test",
                    "mx-host": ["*.mail.y.test", "mx.y.test"],
                },
                "summary": {
                    "total-successful-session-count": 1,
                    "total-failure-session-count": 3,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8:abcd:12::1",
                        "receiving-mx-hostname": "mx1.mail.y.test",
                        "receiving-mx-helo": "mx1",
                        "receiving-ip": "203.0.113.58",
                        "failed-session-count": 2,
                        "failure-reason-code": "expired",
                    },
                    {
                        "result-type": "sts-policy-fetch-error",
                        "failed-session-count": 1,
                    },
                ],
            }],
        })
    );
    assert_eq!(serde_json::to_value(&report).unwrap(), value(&report));
}

#[test]
fn b3_02_b3_04_names_are_never_empty_and_never_null() {
    let mut identity = identity();
    identity.organization_name = " ".to_owned();
    identity.contact_info = Mailbox::parse("r@bücher.test").unwrap();
    let mut tally = Tally::new(day());
    tally.note(&finding(Policy::NoPolicyFound, None));
    let counts = tally.of("y.test").unwrap();
    let report = value(&Report::new(
        counts,
        "y.test",
        day(),
        &identity,
        "id@x.test",
    ));
    assert_eq!(report["organization-name"], "xn--bcher-kva.test");
    assert_eq!(report["contact-info"], "r@xn--bcher-kva.test");
}

#[test]
fn b3_03_the_range_is_a_whole_day_with_its_zone() {
    let report = value(&report_of([finding(Policy::NoPolicyFound, None)]));
    assert_eq!(
        report["date-range"],
        json!({
            "start-datetime": "2026-03-01T00:00:00Z",
            "end-datetime": "2026-03-01T23:59:59Z",
        })
    );
}

#[test]
fn b3_05_a_report_id_is_of_one_node_day_and_domain_and_stays() {
    let next = day().next();
    let ids: BTreeSet<String> = [
        report_id(day(), "y.test", &NODE, "x.test"),
        report_id(day(), "y.test", &[8; 16], "x.test"),
        report_id(next, "y.test", &NODE, "x.test"),
        report_id(day(), "z.test", &NODE, "x.test"),
        report_id(day(), "y.test", &NODE, "x2.test"),
    ]
    .into();
    assert_eq!(ids.len(), 5);
    assert!(ids.contains(&report_id(day(), "y.test", &NODE, "x.test")));
}

#[test]
fn b3_07_b3_11_b3_14_what_cannot_apply_is_left_out() {
    let report = value(&report_of([
        finding(Policy::NoPolicyFound, None),
        finding(
            Policy::Sts(""),
            Some(fetch(ResultType::StsPolicyFetchError)),
        ),
    ]));
    let policy = json!({"policy-type": "no-policy-found", "policy-domain": "y.test"});
    assert_eq!(report["policies"][0]["policy"], policy);
    assert_eq!(report["policies"][0].get("failure-details"), None);
    let policy = json!({"policy-type": "sts", "policy-domain": "y.test"});
    assert_eq!(report["policies"][1]["policy"], policy);
    let details = json!([{"result-type": "sts-policy-fetch-error", "failed-session-count": 1}]);
    assert_eq!(report["policies"][1]["failure-details"], details);
}

#[test]
fn b3_08_lines_of_a_policy_are_told_with_their_mistakes() {
    let text = "version: STSv1\nmode: enforce\n\nx-new: 1\nmx: a.test\nmx: a.test\nmode: none\n\
                max_age: 1\r\nmx: \u{ffff}\u{0}\"";
    let report = value(&report_of([finding(Policy::Sts(text), None)]));
    assert_eq!(
        report["policies"][0]["policy"]["policy-string"],
        json!([
            "version: STSv1",
            "mode: enforce",
            "",
            "x-new: 1",
            "mx: a.test",
            "mx: a.test",
            "mode: none",
            "max_age: 1",
            "mx: \u{fffd}\u{0}\"",
        ])
    );
}

#[test]
fn b3_09_b2_20_tlsa_records_are_strings_of_a_policy_of_their_own() {
    let records = ["3 1 1 00FF".to_owned()];
    let report = value(&report_of([
        finding(Policy::Sts(STS), None),
        finding(Policy::Tlsa(&records), None),
    ]));
    let policy = json!({
        "policy-type": "tlsa",
        "policy-string": ["3 1 1 00ff"],
        "policy-domain": "y.test",
    });
    assert_eq!(report["policies"][0]["policy"]["policy-type"], "sts");
    assert_eq!(report["policies"][1]["policy"], policy);
}

#[test]
fn b3_13_b3_15_addresses_are_in_their_canonical_form_and_names_as_given() {
    let mapped = Failure {
        sending_ip: Some("::ffff:192.0.2.1".parse().unwrap()),
        ..expired()
    };
    let mapped = finding(Policy::Sts(STS), Some(mapped));
    let report = value(&report_of([
        finding(Policy::NoPolicyFound, Some(expired())),
        mapped,
    ]));
    let other = &report["policies"][1]["failure-details"][0];
    assert_eq!(other["sending-mta-ip"], "192.0.2.1");
    let entry = &report["policies"][0]["failure-details"][0];
    assert_eq!(entry["sending-mta-ip"], "2001:db8:abcd:12::1");
    assert_eq!(entry["receiving-ip"], "203.0.113.58");
    assert_eq!(entry["receiving-mx-hostname"], "mx1.mail.y.test");
}

#[test]
fn b3_17_b3_18_nothing_but_the_keys_of_the_rfc_and_no_address_but_our_own() {
    let hostile = Failure {
        helo: Some("\",\"x\":\"bob@y.test"),
        reason: Some("CN=\"bob@y.test\"\r\n<id@y.test>".into()),
        ..expired()
    };
    let text = report_of([finding(Policy::Sts(STS), Some(hostile))]).to_json(usize::MAX);
    let Strict(keys) = serde_json::from_slice(&text).unwrap();
    let known = [
        "organization-name",
        "date-range",
        "start-datetime",
        "end-datetime",
        "contact-info",
        "report-id",
        "policies",
        "policy",
        "policy-type",
        "policy-string",
        "policy-domain",
        "mx-host",
        "summary",
        "total-successful-session-count",
        "total-failure-session-count",
        "failure-details",
        "result-type",
        "sending-mta-ip",
        "receiving-mx-hostname",
        "receiving-mx-helo",
        "receiving-ip",
        "failed-session-count",
        "failure-reason-code",
    ];
    let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(keys, known);
    let text = String::from_utf8(text).unwrap();
    // Of contact-info and of report-id.
    assert_eq!(text.matches("@x.test").count(), 2);
    assert_eq!(text.matches('@').count(), 2);
}

/// A day on which every peer was broken in a way of its own.
fn huge() -> Report {
    let mut tally = Tally::new(day());
    for n in 0..2_000_u32 {
        let helo = format!("{n}.{}", "x".repeat(240));
        let failure = Failure {
            helo: Some(&helo),
            ..expired()
        };
        // The first is met twice.
        for _ in 0..if n == 0 { 2 } else { 1 } {
            tally.note(&finding(Policy::Sts(STS), Some(failure.clone())));
        }
    }
    tally.note(&finding(
        Policy::Sts(STS),
        Some(fetch(ResultType::StsPolicyInvalid)),
    ));
    Report::new(
        tally.of("y.test").unwrap(),
        "y.test",
        day(),
        &identity(),
        "id@x.test",
    )
}

#[test]
fn b4_24_b2_19_a_report_is_reduced_to_a_size_and_says_so() {
    let report = huge();
    let whole = report.to_json(usize::MAX).len();
    assert!(whole > 300_000, "{whole}");
    for max in [whole, 300_000, 100_000, 10_000, 2_000, 1_000] {
        let text = report.to_json(max);
        assert!(text.len() <= max, "{} of {max}", text.len());
        let report: Value = serde_json::from_slice(&text).unwrap();
        let item = &report["policies"][0];
        let entries = item["failure-details"].as_array().unwrap();
        let count = |entry: &Value| entry["failed-session-count"].as_u64().unwrap();
        assert_eq!(entries.iter().map(count).sum::<u64>(), 2_002);
        assert_eq!(item["summary"]["total-failure-session-count"], 2_002);
        let flagged = |entry: &&Value| entry["failure-reason-code"] == "truncated";
        let flagged: Vec<&Value> = entries.iter().filter(flagged).collect();
        let results: BTreeSet<&str> = flagged
            .iter()
            .map(|e| e["result-type"].as_str().unwrap())
            .collect();
        assert_eq!(results.len(), flagged.len(), "one for each result");
        assert!(results.contains("certificate-expired"));
        if max > 10_000 {
            assert_eq!(count(&entries[0]), 2, "the most frequent is kept");
        }
    }
    // Below what is left of it, the texts of policies go, too.
    let least = report.to_json(1);
    let report: Value = serde_json::from_slice(&least).unwrap();
    assert_eq!(report["policies"][0]["policy"].get("policy-string"), None);
    assert_eq!(
        report["policies"][0]["summary"]["total-failure-session-count"],
        2_002
    );
}

#[test]
fn b4_05_b4_06_the_file_name_is_that_of_the_rfc() {
    let (sender, domain) = ("mail.x.test", "xn--bcher-kva.test");
    assert_eq!(
        file_name(sender, domain, day(), None, true),
        "mail.x.test!xn--bcher-kva.test!1772323200!1772409599.json.gz"
    );
    assert_eq!(
        file_name(sender, domain, day(), Some("a-!1\""), false),
        "mail.x.test!xn--bcher-kva.test!1772323200!1772409599!a1.json"
    );
}

#[test]
fn b4_06_b4_07_name_type_and_content_agree() {
    let report = report_of([finding(Policy::NoPolicyFound, None)]);
    let json = report.to_json(usize::MAX);
    let encoded = report.encode(usize::MAX);
    assert_eq!(encoded.content().get(..2), Some(&[0x1f, 0x8b][..]));
    assert!(encoded.file_name().ends_with(".json.gz"));
    assert_eq!(encoded.media_type(), "application/tlsrpt+gzip");
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(encoded.content());
    decoder.read_to_end(&mut plain).unwrap();
    assert_eq!(plain, json);
    // The same again on a retry.
    assert_eq!(report.encode(usize::MAX), encoded);

    let mut report = report;
    report.about.gzip = false;
    let encoded = report.encode(usize::MAX);
    assert_eq!(encoded.media_type(), "application/tlsrpt+json");
    assert!(encoded.file_name().ends_with(".json"));
    assert_eq!(encoded.into_content(), json);
}

/// What stands in the JSON, the file's name, the header and the subject.
#[test]
fn b3_19_they_all_agree() {
    let report = report_of([finding(Policy::NoPolicyFound, None)]);
    let encoded = report.encode(usize::MAX);
    let report = value(&report);
    let to = Mailbox::parse("r@y.test").unwrap();
    let mail = message(
        &encoded,
        &identity(),
        &to,
        Timestamp::from_secs(0),
        "m@x.test",
    );
    let mail = String::from_utf8(mail).unwrap();
    let id = report["report-id"].as_str().unwrap();
    let domain = report["policies"][0]["policy"]["policy-domain"]
        .as_str()
        .unwrap();
    let contact = report["contact-info"].as_str().unwrap();
    let (_, submitter) = contact.split_once('@').unwrap();
    let name = encoded.file_name();
    let parts: Vec<&str> = name.split(['!', '.']).collect();
    assert!(
        parts.contains(&"07070707070707070707070707070707"),
        "{name}"
    );
    let begin = midnight(&report["date-range"]["start-datetime"]);
    assert!(name.starts_with(&format!("{submitter}!{domain}!{}!", begin.as_secs())));
    for line in [
        format!("From: <{contact}>"),
        format!(
            "Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>"
        ),
        format!("TLS-Report-Domain: {domain}"),
        format!("TLS-Report-Submitter: {submitter}"),
        format!("\tfilename=\"{name}\""),
    ] {
        assert_eq!(mail.matches(&format!("{line}\r\n")).count(), 1, "{line}");
    }
}

fn midnight(text: &Value) -> Timestamp {
    let (day, time) = text.as_str().unwrap().split_once('T').unwrap();
    assert_eq!(time, "00:00:00Z");
    day.parse::<Day>().unwrap().begin()
}

/// Any JSON, read strictly as RFC 7493 has it: no key twice in an object, only integers that are safe, no
/// noncharacters. It holds all keys.
struct Strict(BTreeSet<String>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("I-JSON: text, integers, arrays and objects")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Strict, E> {
        assert!(number < 1 << 53, "{number}");
        Ok(Strict(BTreeSet::new()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Strict, E> {
        assert_eq!(i_json(text), text);
        Ok(Strict(BTreeSet::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(Strict(of_item)) = items.next_element()? {
            keys.extend(of_item);
        }
        Ok(Strict(keys))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let (mut keys, mut below) = (BTreeSet::new(), BTreeSet::new());
        while let Some((key, Strict(of_value))) = entries.next_entry::<String, Strict>()? {
            assert!(keys.insert(key.clone()), "{key} twice");
            below.extend(of_value);
        }
        keys.extend(below);
        Ok(Strict(keys))
    }
}

proptest! {
    #[test]
    fn b3_01_b3_12_any_report_is_i_json(
        organization in any::<String>(),
        policy in any::<String>(),
        helo in any::<String>(),
        reason in any::<String>(),
        max in 0usize..2_000,
        result in 0usize..11,
    ) {
        let mut tally = Tally::new(day());
        let failure = Failure {
            result: ResultType::ALL[result],
            helo: Some(&helo),
            reason: Some(reason.into()),
            ..expired()
        };
        tally.note(&finding(Policy::Sts(&policy), Some(failure)));
        let identity = Identity { organization_name: organization, ..identity() };
        let report = Report::new(tally.of("y.test").unwrap(), "y.test", day(), &identity, "a@b");
        for max in [usize::MAX, max] {
            let text = report.to_json(max);
            prop_assert!(std::str::from_utf8(&text).is_ok());
            let read = serde_json::from_slice::<Strict>(&text);
            prop_assert!(read.is_ok());
        }
    }
}

#[test]
fn b3_01_counts_beyond_what_is_safe_stay_at_the_most() {
    assert_eq!(safe(u64::MAX), (1 << 53) - 1);
    assert_eq!(safe(5), 5);
}
