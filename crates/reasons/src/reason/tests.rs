use super::*;

use markdown::reasons_markdown;

mod markdown;

impl Reason {
    /// The reason's cases in which something else is said, the usual one left out.
    pub(crate) fn cases(self) -> impl Iterator<Item = Case> {
        let all = Case::ALL.into_iter();
        all.filter(move |case| cases::variant(self, *case).is_some())
    }
}

#[test]
fn every_reason_stands_at_its_index_with_a_key_of_its_own() {
    for (i, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), i, "{reason}");
        assert_eq!(
            Reason::from_key(reason.key()),
            Some(reason),
            "keys are unique"
        );
    }
    assert_eq!(Reason::from_key("no-such-reason"), None);
}

/// The table of the interface: an operator's filters and dashboards hang on it.
#[test]
fn keys_statuses_and_report_types_are_those_of_the_interface() {
    let table = [
        (
            "starttls-not-offered",
            "4.7.10",
            Some("starttls-not-supported"),
        ),
        ("starttls-refused", "4.7.10", Some("starttls-not-supported")),
        ("starttls-injection", "4.7.5", Some("validation-failure")),
        ("tls-handshake", "4.7.5", Some("validation-failure")),
        ("cert-expired", "4.7.5", Some("certificate-expired")),
        (
            "cert-host-mismatch",
            "4.7.5",
            Some("certificate-host-mismatch"),
        ),
        ("cert-not-trusted", "4.7.5", Some("certificate-not-trusted")),
        ("mx-not-in-policy", "4.7.1", Some("validation-failure")),
        ("dane-mismatch", "4.7.5", Some("validation-failure")),
        ("dane-lookup", "4.7.0", Some("dnssec-invalid")),
        ("dane-unusable", "4.7.0", Some("tlsa-invalid")),
        ("dane-required", "4.7.0", Some("dane-required")),
        ("requiretls-unsupported", "5.7.30", None),
        ("requiretls-no-tls", "5.7.10", None),
        ("tls-required-by-peer", "5.7.10", None),
        ("route-auth", "4.7.8", None),
        ("policy-lookup", "4.4.3", None),
        ("dns-temporary", "4.4.3", None),
        ("dns-bogus", "4.4.3", Some("dnssec-invalid")),
        ("connect", "4.4.1", None),
        ("connection-lost", "4.4.2", None),
        ("timeout", "4.4.2", None),
        ("address-refused", "4.4.4 5.4.6", None),
        ("remote-4xx", "4.0.0", None),
        ("remote-5xx", "5.0.0", None),
        ("no-such-domain", "5.1.2", None),
        ("null-mx", "5.1.10", None),
        ("no-usable-mx", "5.4.4", None),
        ("loop", "5.4.6", None),
        ("extension-missing", "5.6.3 5.6.7 5.3.4", None),
        ("destination-suspended", "4.4.0", None),
        ("parked", "4.3.0", None),
        ("local", "4.3.0 4.3.1 4.3.5", None),
    ];
    assert_eq!(table.len(), Reason::ALL.len());
    for ((key, statuses, report), reason) in table.into_iter().zip(Reason::ALL) {
        assert_eq!(reason.key(), key);
        let have: Vec<_> = reason.statuses().iter().map(ToString::to_string).collect();
        assert_eq!(have.join(" "), statuses, "{key}");
        assert_eq!(reason.report().result_type(), report, "{key}");
        assert_eq!(
            reason.status().to_string(),
            statuses.split(' ').next().unwrap_or_default(),
            "{key}: the default stands first"
        );
    }
}

#[test]
fn sentences_say_the_names_and_the_specifics() {
    let facts = Facts {
        domain: "d.test",
        mx: Some("mx1.d.test"),
        specifics: Some("not valid after 2026-02-03"),
        ..Facts::default()
    };
    assert_eq!(
        Reason::CertExpired.sentence(&facts),
        "The certificate of mx1.d.test has expired: not valid after 2026-02-03."
    );
    let unknown = Facts {
        domain: "d.test",
        ..Facts::default()
    };
    assert_eq!(
        Reason::Timeout.sentence(&unknown),
        "The mail server took too long to answer."
    );
}

#[test]
fn f3_04_every_text_is_complete_and_without_placeholders() {
    let facts = Facts {
        domain: "d.test",
        mx: Some("mx1.d.test"),
        ..Facts::default()
    };
    for reason in Reason::ALL {
        let sentence = reason.sentence(&facts);
        let advice = reason.advice(&facts);
        for text in [&sentence, &advice] {
            assert!(!text.contains(['{', '}']), "{reason}: {text}");
            assert!(!text.contains("  "), "{reason}: {text}");
            assert!(text.ends_with('.'), "{reason}: {text}");
        }
        assert_eq!(sentence.matches(". ").count(), 0, "{reason}: one sentence");
        assert!(
            !sentence.contains(['(', ')'])
                || sentence.contains("STARTTLS")
                || sentence.contains("REQUIRETLS")
        );
        assert!(reason.clause().starts_with("RFC "), "{reason}");
        assert!(!reason.explanation().is_empty(), "{reason}");
        for p in reason.explanation() {
            assert!(p.ends_with('.') && !p.contains("  "), "{reason}: {p}");
        }
    }
}

const EVERYBODY: [DemandedBy; 10] = DemandedBy::ALL;

/// Every text in every case, for everybody.
fn everything() -> Vec<(Reason, Facts<'static>)> {
    let mut all = Vec::new();
    for reason in Reason::ALL {
        for case in std::iter::once(Case::Usual).chain(reason.cases()) {
            for by in EVERYBODY {
                for (given_up, reader) in [
                    (false, Reader::Operator),
                    (true, Reader::Operator),
                    (false, Reader::Sender),
                    (true, Reader::Sender),
                ] {
                    let facts = Facts {
                        domain: "d.test",
                        mx: Some("mx1.d.test"),
                        case,
                        by,
                        given_up,
                        reader,
                        ..Facts::default()
                    };
                    all.push((reason, facts));
                }
            }
        }
    }
    all
}

#[test]
fn f3_04_every_case_has_complete_texts_for_everybody() {
    for (reason, facts) in everything() {
        let texts = [
            Some(reason.sentence(&facts)),
            Some(reason.advice(&facts)).filter(|text| !text.is_empty()),
            reason.request(&facts),
        ];
        for text in texts.iter().flatten() {
            let end = text.ends_with('.');
            let plain = !text.contains(['{', '}']) && !text.contains("  ");
            assert!(end && plain, "{reason}, {facts:?}: {text:?}");
        }
    }
}

/// What was given up is not tried again, and nobody is told that it were.
#[test]
fn nothing_is_promised_to_who_gets_the_mail_back() {
    let all = everything().into_iter();
    // What is parked is held, and has no end.
    let all = all.filter(|(reason, _)| *reason != Reason::Parked);
    for (reason, facts) in all.filter(|(_, facts)| facts.given_up) {
        let advice = reason.advice(&facts);
        for promise in ["next attempt", "tried again", "passes", "One message tries"] {
            assert!(!advice.contains(promise), "{reason}, {facts:?}: {advice}");
        }
        let kind = advice.is_empty() || advice.contains("may send it again");
        assert!(kind, "{reason}, {facts:?}: {advice}");
    }
}

/// The texts for the sender of a message do not speak of the sender, or of our configuration.
#[test]
fn senders_are_spoken_to() {
    let all = everything().into_iter();
    for (reason, facts) in all.clone() {
        // What the sender has to mend is asked of nobody else.
        let asked = reason.request(&facts);
        assert!(
            asked.is_none() || !reason.is_for_sender(facts.case),
            "{reason}, {facts:?}"
        );
    }
    for (reason, facts) in all.filter(|(_, f)| f.reader == Reader::Sender) {
        let advice = reason.advice(&facts);
        for word in [
            "The sender",
            "the sender",
            "changed here",
            "our own r",
            "sealpost",
        ] {
            assert!(!advice.contains(word), "{reason}, {facts:?}: {advice}");
        }
    }
}

#[test]
fn what_our_own_rule_or_route_demands_is_ours_to_put_right() {
    for reason in [
        Reason::StarttlsNotOffered,
        Reason::CertExpired,
        Reason::CertHostMismatch,
        Reason::MxNotInPolicy,
    ] {
        let facts = |by| Facts {
            domain: "d.test",
            mx: Some("mx1.d.test"),
            by,
            ..Facts::default()
        };
        let theirs = facts(DemandedBy::Recipient);
        assert_eq!(reason.side_in(Case::Usual, theirs.by), Side::RecipientAdmin);
        assert!(reason.request(&theirs).is_some(), "{reason}");
        for by in [DemandedBy::Rule, DemandedBy::Default, DemandedBy::Route] {
            let ours = facts(by);
            assert_eq!(reason.side_in(Case::Usual, by), Side::Us, "{reason}");
            assert_eq!(reason.request(&ours), None, "{reason}");
            let said = reason.advice(&ours);
            assert!(
                said.contains("our own ") && !said.contains("Nothing has"),
                "{said}"
            );
            let general = by == DemandedBy::Default;
            assert_eq!(said.contains("`delivery.tls`"), general, "{said}");
        }
    }
    let listed = Facts {
        domain: "d.test",
        mx: Some("mx1.d.test"),
        specifics: Some("the rule lists only mx.elsewhere.test"),
        by: DemandedBy::Rule,
        case: Case::NotInRule,
        ..Facts::default()
    };
    assert_eq!(
        Reason::MxNotInPolicy.sentence(&listed),
        "Our own rule for d.test does not list mx1.d.test, an MX host of the domain: the rule lists only \
         mx.elsewhere.test."
    );
    assert_eq!(Reason::MxNotInPolicy.request(&listed), None);
    assert_eq!(
        Reason::MxNotInPolicy.side_in(listed.case, listed.by),
        Side::Us
    );
}

#[test]
fn the_sender_is_named_where_nobody_else_can_act() {
    for reason in [
        Reason::NoSuchDomain,
        Reason::NullMx,
        Reason::ExtensionMissing,
    ] {
        assert!(reason.is_for_sender(Case::Usual), "{reason}");
    }
    for reason in [Reason::Local, Reason::RouteAuth, Reason::CertExpired] {
        assert!(!reason.is_for_sender(Case::Usual), "{reason}");
    }
    assert!(!Reason::NullMx.is_for_sender(Case::NotBelieved));
}

#[test]
fn cases_come_back_from_their_keys() {
    for case in Case::ALL {
        assert_eq!(Case::from_key(case.key()), case);
    }
    assert_eq!(Case::from_key("of a later version"), Case::Usual);
    for by in EVERYBODY {
        assert_eq!(DemandedBy::from_key(by.key()), by);
    }
}

/// What a host says is not a template.
#[test]
fn specifics_are_not_filled_in() {
    let facts = Facts {
        domain: "d.test",
        mx: Some("{domain}"),
        specifics: Some("450 {mx} {x"),
        ..Facts::default()
    };
    assert_eq!(
        Reason::Remote4xx.sentence(&facts),
        "{domain} asked us to try again later: 450 {mx} {x."
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that keeps a file of the documentation equal to the table"
)]
fn docs_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reasons.md");
    let want = reasons_markdown();
    if std::env::var("UPDATE").is_ok() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).unwrap();
        std::fs::write(path, &want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        have == want,
        "docs/reasons.md is not what the table says: run UPDATE=1 cargo test -p reasons"
    );
}

#[test]
fn a_case_is_not_explained_by_what_it_is_not_about() {
    let facts = Facts {
        domain: "d.test",
        mx: Some("mx.d.test"),
        case: Case::WrongPurpose,
        ..Facts::default()
    };
    let advice = Reason::CertNotTrusted.advice(&facts);
    assert!(
        advice.contains("serverAuth") && !advice.contains("intermediate"),
        "{advice}"
    );
    let said = |reason: Reason, case| reason.explanation_in(case).join(" ");
    assert!(!said(Reason::ConnectionLost, Case::NotSmtp).contains("MTU"));
    assert!(!said(Reason::TlsHandshake, Case::CertificateTooLarge).contains("TLS 1.0"));
    assert!(said(Reason::CertNotTrusted, Case::WrongPurpose).contains("serverAuth"));
}

/// Three causes with nothing in common but that there is no host: each has another one to act.
#[test]
fn who_has_no_usable_mx_is_told_why_and_by_whom_it_is_mended() {
    let said = |case| {
        let facts = Facts {
            domain: "d.test",
            case,
            by: match case {
                Case::RouteHost => DemandedBy::Route,
                _ => DemandedBy::Recipient,
            },
            ..Facts::default()
        };
        let reason = Reason::NoUsableMx;
        (
            reason.sentence(&facts),
            reason.side_in(case, facts.by),
            reason.advice(&facts),
            reason.request(&facts).is_some(),
        )
    };
    let (sentence, side, advice, request) = said(Case::MxNotAHost);
    assert_eq!(sentence, "The MX records of d.test name no host.");
    assert_eq!((side, request), (Side::RecipientAdmin, true));
    assert!(advice.contains("never an address"), "{advice}");
    let (sentence, side, advice, _) = said(Case::NoMailHost);
    assert!(
        sentence.contains("neither an MX record nor an address"),
        "{sentence}"
    );
    assert!(Reason::NoUsableMx.is_for_sender(Case::NoMailHost) && side == Side::Us);
    assert!(advice.contains("spelling"), "{advice}");
    let (sentence, side, advice, request) = said(Case::RouteHost);
    assert!(
        sentence.starts_with("Our own route for d.test"),
        "{sentence}"
    );
    assert_eq!((side, request), (Side::Us, false));
    assert!(
        advice.contains("`relay`") && advice.contains("d.test"),
        "{advice}"
    );
}

#[test]
fn f3_01_who_demands_tls_is_named_and_nobody_else() {
    let said = |by| {
        let facts = Facts {
            domain: "d.test",
            mx: Some("mx1.d.test"),
            by,
            ..Facts::default()
        };
        let reason = Reason::StarttlsNotOffered;
        let text = format!("{} {}", reason.sentence(&facts), reason.advice(&facts));
        (text, reason.side_in(Case::Usual, by))
    };
    for (by, demand, todo, side) in [
        (
            DemandedBy::Recipient,
            "a policy for d.test demands",
            "Nothing has to be changed here",
            Side::RecipientAdmin,
        ),
        (
            DemandedBy::TlsaRecords,
            "DANE (its TLSA records) demands",
            "The administrator of mx1.d.test should",
            Side::RecipientAdmin,
        ),
        (
            DemandedBy::Sender,
            "the sender (REQUIRETLS) demands",
            "The administrator of d.test should",
            Side::RecipientAdmin,
        ),
        (
            DemandedBy::Rule,
            "our own rule for d.test demands",
            "or a pin",
            Side::Us,
        ),
        (
            DemandedBy::Default,
            "our setting `delivery.tls` demands",
            "of every domain",
            Side::Us,
        ),
        (
            DemandedBy::Route,
            "our own route for d.test demands",
            "change its `tls`",
            Side::Us,
        ),
        (
            DemandedBy::NextHop,
            "what the next hop publishes",
            "Whoever runs mx1.d.test",
            Side::Us,
        ),
        (
            DemandedBy::DefaultByRoute,
            "our setting `delivery.tls` demands",
            "Whoever runs mx1.d.test",
            Side::Us,
        ),
    ] {
        let (text, whose) = said(by);
        assert!(
            text.contains(demand) && text.contains(todo),
            "{by:?}: {text}"
        );
        assert_eq!(whose, side, "{by:?}");
        assert_eq!(
            text.contains("our own route"),
            by == DemandedBy::Route,
            "{text}"
        );
        assert_eq!(
            text.contains("a policy for"),
            by == DemandedBy::Recipient,
            "{text}"
        );
    }
}
