use proptest::prelude::*;

use super::*;

fn id_of(text: &[u8]) -> Result<String, RecordError> {
    Record::parse(text).map(|r| r.id().to_string())
}

#[test]
fn valid_records() {
    let id32 = "a".repeat(32);
    let long = format!("v=STSv1; id={id32}");
    for (text, want, reason) in [
        (
            "v=STSv1; id=20160831085700Z;",
            "20160831085700Z",
            "the RFC's example",
        ),
        ("v=STSv1;id=a", "a", "A2-07: no blank, no closing semicolon"),
        ("v=STSv1; id=a;", "a", "A2-07: closing semicolon"),
        (
            "v=STSv1;\tid=a ;",
            "a",
            "A2-07: tab, and a blank before the semicolon",
        ),
        (
            "v=STSv1 ;id=a",
            "a",
            "A2-07: blank before the first semicolon is in the grammar",
        ),
        (
            "v=STSv1;id=a; \t ",
            "a",
            "blanks belong to the closing delimiter",
        ),
        (
            "v=STSv1; x=1; id=abc",
            "abc",
            "A2-06: order does not matter",
        ),
        (
            "v=STSv1; id=a; new-field=zz9",
            "a",
            "A2-08: unknown fields are ignored",
        ),
        (
            "v=STSv1; id=a; x.y_z-1=!:<>~",
            "a",
            "A2-08: all that an extension may have",
        ),
        ("v=STSv1; id=a; id=b", "a", "A2-10: the first id wins"),
        (
            "v=STSv1; id=a; id=a-b",
            "a",
            "A2-10: the later one is not validated as an id",
        ),
        (
            "v=STSv1; ID=x; id=a",
            "a",
            "names are case-sensitive: ID is an extension",
        ),
        (&long, &id32, "A2-05: 32 characters"),
    ] {
        assert_eq!(
            id_of(text.as_bytes()),
            Ok(want.to_owned()),
            "{text}: {reason}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn invalid_records() {
    let id33 = format!("v=STSv1; id={}", "a".repeat(33));
    let name33 = format!("v=STSv1; id=a; {}=1", "x".repeat(33));
    for (text, want, reason) in [
        ("V=STSv1; id=a", RecordError::Version, "A2-02: case"),
        ("v=stsv1; id=a", RecordError::Version, "A2-02: case"),
        (
            "id=a; v=STSv1",
            RecordError::Version,
            "A2-02: the version comes first",
        ),
        (
            " v=STSv1; id=a",
            RecordError::Version,
            "nothing may stand before it",
        ),
        (
            "v=STSv10; id=x",
            RecordError::Version,
            "A2-03: another version",
        ),
        ("v=STSv1", RecordError::Version, "no field at all"),
        ("v=STSv1;", RecordError::IdMissing, "A2-04"),
        ("v=STSv1; foo=bar", RecordError::IdMissing, "A2-04"),
        ("v=STSv1; id=", RecordError::Id, "A2-05: empty"),
        (&id33, RecordError::Id, "A2-05: 33 characters"),
        ("v=STSv1; id=a-b", RecordError::Id, "A2-05: hyphen"),
        ("v=STSv1; id=a_b", RecordError::Id, "A2-05: underscore"),
        (
            "v=STSv1; id=é",
            RecordError::Field(1),
            "A2-05, A2-15: not ASCII",
        ),
        (
            "v=STSv1; id=a; foo",
            RecordError::Field(2),
            "A2-09: no equals sign",
        ),
        (
            "v=STSv1; id=a; foo=",
            RecordError::Field(2),
            "A2-09: no value",
        ),
        (
            "v=STSv1; id=a; foo=a=b",
            RecordError::Field(2),
            "A2-09: two equals signs",
        ),
        (
            "v=STSv1; id=a; foo=a b",
            RecordError::Field(2),
            "A2-09: blank in the value",
        ),
        (
            "v=STSv1; id=a;;",
            RecordError::Field(2),
            "A2-09: empty field",
        ),
        (
            "v=STSv1;; id=a",
            RecordError::Field(1),
            "A2-09: empty field",
        ),
        (&name33, RecordError::Field(2), "A2-09: long name"),
        (
            "v=STSv1; id=a; -x=1",
            RecordError::Field(2),
            "A2-09: a name starts alphanumeric",
        ),
        (
            "v=STSv1; id = a",
            RecordError::Field(1),
            "no blanks around =",
        ),
        (
            "v=STSv1; id=a ",
            RecordError::Field(1),
            "blanks only beside a semicolon",
        ),
        ("v=STSv1; id=a; x=\0", RecordError::Field(2), "A2-15: NUL"),
        (
            "v=STSv1; id=a\n",
            RecordError::Field(1),
            "a line end is no blank",
        ),
    ] {
        assert_eq!(id_of(text.as_bytes()), Err(want), "{text:?}: {reason}");
    }
    assert_eq!(
        id_of(b"v=STSv1; id=a; x=\xE9"),
        Err(RecordError::Field(2)),
        "A2-15: eight bits"
    );
}

#[test]
fn a2_11_a2_12_filter_before_counting() {
    fn select(records: &[&str]) -> Selection {
        Record::select(records.iter().map(|r| r.as_bytes()))
    }
    let found = |id: &str| Selection::Found(Record::new(PolicyId::parse(id).unwrap()));
    let spf = "v=spf1 -all";
    for (records, want, reason) in [
        (&[][..], Selection::None(NoRecord::Absent), "nothing there"),
        (
            &[spf, "verify=1", "v=STSv1; id=a"][..],
            found("a"),
            "A2-11: unrelated ones do not count",
        ),
        (
            &["v=STSv10; id=x", "v=STSv1; id=a"],
            found("a"),
            "A2-03: nor does another version",
        ),
        (
            &[spf],
            Selection::None(NoRecord::Absent),
            "H1-31: wildcard TXT",
        ),
        (
            &[spf, "V=STSv1; id=a"],
            Selection::None(NoRecord::NearMiss),
            "the version is read with its case, and somebody meant it",
        ),
        (
            &["v=STSv2; id=a"],
            Selection::None(NoRecord::NearMiss),
            "A2-03: another version",
        ),
        (
            &["v=STSv1; id=a", "v=STSv1; id=a"],
            Selection::None(NoRecord::Several(2)),
            "A2-12: two, though equal",
        ),
        (
            &["v=STSv1; id=a", "v=STSv1 ; nonsense"],
            Selection::None(NoRecord::Several(2)),
            "an invalid candidate counts as well",
        ),
        (
            &["v=STSv1; nonsense"],
            Selection::None(NoRecord::Invalid(RecordError::Field(1))),
            "one, and it is broken",
        ),
    ] {
        assert_eq!(select(records), want, "{reason}");
    }
}

/// What a wildcard record of another kind says at this name is no broken record.
#[test]
fn a2_11_only_what_was_meant_for_a_record_looks_so() {
    for text in [
        "v=spf1 include:lists1.example -all",
        "v=spf1 include:hostsvc.example a:sts1.d.test -all",
        "v=TLSRPTv1; rua=mailto:mta-sts@d.test",
        "v=DMARC1; p=none; rua=mailto:stsv@d.test",
        "guests1",
        "hostsv=1",
        "domain-verification=lists1",
        "v=",
        "v",
        "",
    ] {
        assert!(!Record::looks_meant(text.as_bytes()), "{text}");
        let found = Record::select([text.as_bytes()]);
        assert_eq!(found, Selection::None(NoRecord::Absent), "{text}");
    }
    for text in [
        "v=stsv1; id=1",
        "V=STSv1; id=1",
        "v =STSv1; id=1",
        " v=STSv1; id=1",
        "v= STS1; id=1",
        "v=STS; id=1",
        "v=MTA-STSv1; id=1",
        "v=\"STSv1\"; id=1",
        "\"v=STSv1; id=1\"",
        "STSv1; id=1",
        "id=1; v=STSv1",
        "version: STSv1",
        "mta-sts.d.test",
        "\u{feff}v=STSv1; id=1",
    ] {
        assert!(Record::looks_meant(text.as_bytes()), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::parse(&text);
        let prefixed = [b"v=STSv1;".as_slice(), &text].concat();
        if let Ok(r) = Record::parse(&prefixed) {
            prop_assert_eq!(Record::parse(r.to_string().as_bytes()), Ok(r));
        }
    }

    #[test]
    fn print_then_parse_is_identity(id in "[A-Za-z0-9]{1,32}") {
        let record = Record::new(PolicyId::parse(&id).unwrap());
        prop_assert_eq!(Record::parse(record.to_string().as_bytes()), Ok(record));
    }
}
