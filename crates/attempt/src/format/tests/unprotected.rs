//! Mail that goes without the protection that its domain publishes.

use super::*;
use crate::{DaneUse, NoPolicy, Weakened};

#[test]
fn a_demand_that_was_set_aside_is_said() {
    let scene = Scene::new();
    let exempt = Record {
        weakened_by: Some(Weakened::Exempt),
        ..scene.sent()
    };
    assert!(
        line(Format::Text { colour: false }, &exempt).contains("[policy set aside: exempt]"),
        "danger is shown"
    );
    assert_eq!(exempt.level(), Level::Warn);
}

#[test]
fn why_there_is_no_policy_is_said_in_each_format() {
    let scene = Scene::new();
    let none = NoPolicy {
        step: "fetch-failed",
        why: "the policy with id 1 could not be fetched: HTTP status 404".into(),
    };
    let record = Record {
        no_policy: Some(&none),
        ..scene.sent()
    };
    let json = line(Format::Json, &record);
    let want = r#""no_policy":"fetch-failed: the policy with id 1 could not be fetched: HTTP status 404","weakened_by":null"#;
    assert!(json.contains(want), "{json}");
    let postfix = line(Format::Postfix, &record);
    assert!(
        postfix.contains(") policy=mta-sts:enforce:20260101T000000:failed no-policy=fetch-failed "),
        "{postfix}"
    );
    let text = line(Format::Text { colour: false }, &record);
    let want = "[no policy: the policy with id 1 could not be fetched: HTTP status 404]";
    assert!(text.contains(want), "{text}");
    // Where nothing is published nothing is said.
    assert!(!line(Format::Json, &scene.sent()).contains("no_policy"));
}

#[test]
fn c2_02_what_is_wrong_with_tlsa_records_is_said() {
    let mut scene = Scene::new();
    scene.policies[0].dane = Some(DaneUse {
        target: "mx1.d.test".into(),
        mx_secure: true,
        unusable: Some("usage 1 is not for mail".into()),
    });
    let json = line(Format::Json, &scene.sent());
    let want = r#""mx_secure":true,"unusable":"usage 1 is not for mail"}"#;
    assert!(json.contains(want), "{json}");
    let postfix = line(Format::Postfix, &scene.sent());
    assert!(
        postfix.contains(" target=mx1.d.test dane-records=unusable "),
        "{postfix}"
    );
}
