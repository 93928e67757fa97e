use super::*;
use proptest::prelude::*;

fn read(texts: &[&str]) -> Result<TlsRptRecord, NoReports> {
    let answers: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    record(&answers)
}

/// The places, as shown.
fn places(text: &str) -> Vec<String> {
    let record = read(&[text]).unwrap();
    record.rua.iter().map(ToString::to_string).collect()
}

/// Why the only place is not used.
fn refused(uri: &str) -> &'static str {
    match read(&[&format!("v=TLSRPTv1; rua={uri}")]) {
        Err(NoReports::NothingUsable(skipped)) => skipped.first().map(|(_, why)| *why).unwrap(),
        other => panic!("{uri}: {other:?}"),
    }
}

#[test]
fn b1_03_the_version_comes_first_and_in_this_case() {
    for text in [
        "v=tlsrptv1; rua=mailto:r@d.test",
        "V=TLSRPTv1; rua=mailto:r@d.test",
        " v=TLSRPTv1; rua=mailto:r@d.test",
        "rua=mailto:r@d.test; v=TLSRPTv1;",
        "v=TLSRPTv12; rua=mailto:r@d.test",
        "v=TLSRPTv1 rua=mailto:r@d.test",
        "v=TLSRPTv1",
        "v=spf1 -all",
        "",
    ] {
        assert_eq!(read(&[text]), Err(NoReports::NoRecord), "{text:?}");
    }
    assert_eq!(
        places("v=TLSRPTv1 \t;rua=mailto:r@d.test;"),
        ["mailto:r@d.test"]
    );
}

#[test]
fn b1_04_exactly_one_record_has_to_be_left() {
    let one = "v=TLSRPTv1; rua=mailto:r@d.test";
    assert_eq!(read(&[]), Err(NoReports::NoRecord));
    assert!(read(&["v=spf1 -all", one, "v=TLSRPTv2; rua=mailto:r@d.test"]).is_ok());
    assert_eq!(read(&[one, one]), Err(NoReports::Several(2)));
    // Also one that could not be used counts.
    assert_eq!(
        read(&[one, "v=TLSRPTv1;", "v=TLSRPTv1;x"]),
        Err(NoReports::Several(3))
    );
}

/// The resolver joins the strings of a record; this is what becomes of them.
#[test]
fn b1_05_strings_are_joined_with_nothing_between() {
    let joined = [&b"v=TLSRPTv1;rua=mai"[..], b"lto:r@d.test"].concat();
    let record = record(&[joined]).unwrap();
    assert_eq!(record.rua[0].to_string(), "mailto:r@d.test");
}

#[test]
fn b1_06_unknown_fields_are_skipped_and_rua_has_to_be_there() {
    assert_eq!(
        places("v=TLSRPTv1; x=1; rua=mailto:r@d.test; ext.y=;junk"),
        ["mailto:r@d.test"]
    );
    for text in [
        "v=TLSRPTv1;",
        "v=TLSRPTv1; x=mailto:r@d.test",
        "v=TLSRPTv1; rua=",
        "v=TLSRPTv1; rua",
        "v=TLSRPTv1; RUA=mailto:r@d.test",
    ] {
        assert_eq!(read(&[text]), Err(NoReports::NoRua), "{text}");
    }
    // What is not ASCII elsewhere does no harm.
    let mut text = b"v=TLSRPTv1; x=\xff; rua=mailto:r@d.test".to_vec();
    assert!(record(&[text.clone()]).is_ok());
    text.push(0xff);
    assert!(matches!(record(&[text]), Err(NoReports::NothingUsable(_))));
}

#[test]
fn b1_07_rua_is_a_list_of_which_mailto_and_https_are_used() {
    let record = read(&[
        "v=TLSRPTv1; rua=mailto:a@d.test , HTTPS://R.d.test/x\t,http://r.d.test/,ftp://r.d.test/,,x",
    ])
    .unwrap();
    let places: Vec<String> = record.rua.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["mailto:a@d.test", "https://r.d.test/x"]);
    let skipped: Vec<&str> = record.skipped.iter().map(|(uri, _)| &**uri).collect();
    assert_eq!(skipped, ["http://r.d.test/", "ftp://r.d.test/", "", "x"]);
    assert_eq!(record.skipped[0].1, "neither mailto: nor https:");
}

#[test]
fn b1_07_what_is_told_of_a_record_is_harmless_and_bounded() {
    let bad = format!("x:\u{1b}[31m{}", "y".repeat(1000));
    let many = vec![bad; 100].join(",");
    let Err(NoReports::NothingUsable(skipped)) = read(&[&format!("v=TLSRPTv1;rua={many}")]) else {
        panic!("nothing there can be used");
    };
    assert_eq!(skipped.len(), MAX_RUA);
    assert!(
        skipped
            .iter()
            .all(|(uri, _)| uri.len() < 210 && !uri.contains('\u{1b}'))
    );
    let many = vec!["mailto:r@d.test"; 1000].join(",");
    assert_eq!(places(&format!("v=TLSRPTv1;rua={many}")).len(), MAX_RUA);
}

#[test]
fn b1_08_comma_exclamation_mark_and_semicolon_are_percent_encoded() {
    for (uri, want) in [
        ("mailto:a%2Cb@d.test", "mailto:\"a,b\"@d.test"),
        ("mailto:a%21b%3db@d.test", "mailto:a!b=b@d.test"),
        ("mailto:a%3Bb@d.test", "mailto:\"a;b\"@d.test"),
        ("mailto:r@b%C3%BCcher.test", "mailto:r@xn--bcher-kva.test"),
        ("mailto:r@d.test?subject=x", "mailto:r@d.test"),
        ("mailto:%22a%20b%22@d.test", "mailto:\"a b\"@d.test"),
        // In a path they stay as they are.
        (
            "https://r.d.test/a%2Cb%21?c%3B",
            "https://r.d.test/a%2Cb%21?c%3B",
        ),
    ] {
        assert_eq!(places(&format!("v=TLSRPTv1;rua={uri}")), [want], "{uri}");
    }
    for uri in [
        "mailto:",
        "mailto:a",
        "mailto:a%2@d.test",
        "mailto:a%zz@d.test",
        "mailto:%ff@d.test",
        "mailto:a%0d%0aBcc:x@d.test",
        "mailto:a@d.test%0d%0a",
        "mailto://a@d.test",
        "mailto:a%22b@d.test",
    ] {
        assert_eq!(refused(uri), "it holds no mail address", "{uri}");
    }
    assert_eq!(
        refused("mailto:%C3%BC@d.test"),
        "the mail address is not ASCII"
    );
    assert!(refused("mailto:r@d.test!10m").contains("%21"));
}

#[test]
fn b4_26_a_post_goes_to_port_443_of_a_name() {
    for (uri, want) in [
        ("https://r.d.test", "https://r.d.test/"),
        ("https://r.d.test:443/x?y#z", "https://r.d.test/x?y"),
        ("https://r.d.test:?y", "https://r.d.test/?y"),
        ("https://R.Bü.test/", "https://r.xn--b-eha.test/"),
        ("https://r_1.d.test./x", "https://r_1.d.test/x"),
    ] {
        assert_eq!(places(&format!("v=TLSRPTv1;rua={uri}")), [want], "{uri}");
    }
    for (uri, why) in [
        ("https://127.0.0.1/", "it names no host in DNS"),
        ("https://169.254.169.254/x", "it names no host in DNS"),
        ("https://2130706433/", "it names no host in DNS"),
        ("https://0x7f000001/", "an IP address is no host name"),
        ("https://0x7f.0x1/", "an IP address is no host name"),
        ("https://[fd00::1]/", "an IP address is no host name"),
        ("https://[::1]:443/", "an IP address is no host name"),
        ("https://r.d.test:8443/", "only port 443 is used"),
        ("https://r.d.test:443:443/", "only port 443 is used"),
        (
            "https://u:p@r.d.test/",
            "no user and password may stand in it",
        ),
        (
            "https://a@127.0.0.1@r.d.test/",
            "no user and password may stand in it",
        ),
        (
            "https://r.d.test\\@127.0.0.1/",
            "no user and password may stand in it",
        ),
        ("https://r.d.test%2f/", "it names no host in DNS"),
        ("https:///x", "it names no host in DNS"),
        ("https:r.d.test", "it names no host"),
        ("https://r.d.test/a b", "its path is not printable ASCII"),
        ("https://r.d.test/ü", "its path is not printable ASCII"),
    ] {
        assert_eq!(refused(uri), why, "{uri}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read(answers in proptest::collection::vec(any::<Vec<u8>>(), 0..3)) {
        let _ = record(&answers);
    }

    /// What comes out can stand in a header field, an envelope and a request line.
    #[test]
    fn b1_07_b4_26_any_rua_gives_safe_places(rua in "(mailto:|https://)?\\PC{0,30}(@d\\.test|\\.test/)?\\PC{0,10}") {
        if let Ok(record) = read(&[&format!("v=TLSRPTv1; rua={rua}")]) {
            for place in record.rua {
                match &place {
                    Rua::Mailto(mailbox) => {
                        prop_assert!(mailbox.as_str().bytes().all(|b| (b' '..=b'~').contains(&b)));
                    }
                    Rua::Https(endpoint) => {
                        prop_assert!(endpoint.path_and_query.starts_with('/'));
                        prop_assert!(endpoint.path_and_query.bytes().all(|b| b.is_ascii_graphic()));
                        prop_assert!(endpoint.host.as_str().parse::<std::net::IpAddr>().is_err());
                    }
                }
            }
        }
    }
}
