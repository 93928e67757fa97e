//! Logins, word by word.

use super::*;

fn user(name: &str, password: &str) -> Credentials {
    Credentials::new(name, Zeroizing::new(password.to_owned())).unwrap()
}

fn offered(mechanisms: &str) -> Extensions {
    Extensions::parse(&Reply::new(250, None, &format!("mx\nAUTH {mechanisms}")))
}

/// Plays the server's replies; what we said, and how it ended.
fn play(
    offered: &Extensions,
    credentials: &Credentials,
    replies: &[&str],
) -> (Vec<String>, Result<(), AuthFault>) {
    let mut said = Vec::new();
    let mut login = match Authentication::new(offered, credentials, "rOprNGfwEbeRWgbNEkqO") {
        Ok(login) => login,
        Err(fault) => return (said, Err(fault)),
    };
    let mut replies = replies.iter();
    loop {
        let mut out = BytesMut::new();
        if login.next(&mut out) == AuthAction::Done {
            return (said, Ok(()));
        }
        let line = String::from_utf8(out.to_vec()).unwrap();
        said.push(line.strip_suffix("\r\n").unwrap().to_owned());
        let reply = Reply::parse(replies.next().expect("a reply")).unwrap();
        if let Err(fault) = login.on_reply(reply) {
            return (said, Err(fault));
        }
    }
}

#[test]
fn plain_goes_in_one_line_or_in_two() {
    // RFC 4954 section 4.1: the example's user and password.
    let tim = user("tim", "tanstaaftanstaaf");
    let line = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
    let (said, end) = play(&offered("PLAIN"), &tim, &["235 2.7.0 ok"]);
    assert_eq!((said, end), (vec![format!("AUTH PLAIN {line}")], Ok(())));
    let (said, end) = play(&offered("plain"), &tim, &["334 ", "235 2.7.0 ok"]);
    assert_eq!(end, Ok(()));
    assert_eq!(said, [format!("AUTH PLAIN {line}"), line.to_owned()]);
}

#[test]
fn login_answers_two_questions() {
    let replies = ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok"];
    let (said, end) = play(&offered("CRAM-MD5 LOGIN"), &user("u", "p"), &replies);
    assert_eq!(end, Ok(()));
    assert_eq!(said, ["AUTH LOGIN", "dQ==", "cA=="]);
}

#[test]
fn scram_is_preferred_and_verifies_the_server() {
    let all = offered("PLAIN LOGIN SCRAM-SHA-256");
    let first = BASE64.encode(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    );
    let last = BASE64.encode(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    let (first, last) = (format!("334 {first}"), format!("334 {last}"));
    let pencil = user("user", "pencil");
    let (said, end) = play(&all, &pencil, &[&first, &last, "235 2.7.0 ok"]);
    assert_eq!(end, Ok(()));
    assert_eq!(said.len(), 3);
    assert!(
        said[0].starts_with("AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9"),
        "{}",
        said[0]
    );
    assert_eq!(said[2], "", "nothing is left to say");
    // A 235 before the server's signature is no login.
    let (_, end) = play(&all, &pencil, &[&first, "235 2.7.0 ok"]);
    assert_eq!(end, Err(AuthFault::Server(ScramFault::Signature)));
    let (_, end) = play(&all, &pencil, &["235 2.7.0 ok"]);
    assert_eq!(end, Err(AuthFault::Server(ScramFault::Signature)));
}

#[test]
fn what_sasl_has_to_prepare_goes_by_plain() {
    let (said, _) = play(
        &offered("SCRAM-SHA-256 PLAIN"),
        &user("ü", "x"),
        &["235 ok"],
    );
    assert!(said[0].starts_with("AUTH PLAIN "), "{said:?}");
}

#[test]
fn a_mechanism_that_is_refused_is_followed_by_the_next_one_but_wrong_credentials_are_not() {
    let all = offered("SCRAM-SHA-256 PLAIN LOGIN");
    let (said, end) = play(
        &all,
        &user("u", "p"),
        &["534 too weak", "504 no", "334 x", "334 x", "235 ok"],
    );
    assert_eq!(end, Ok(()));
    assert!(
        said[1].starts_with("AUTH PLAIN") && said[2] == "AUTH LOGIN",
        "{said:?}"
    );
    for refusal in [
        "535 5.7.8 wrong",
        "454 4.7.0 later",
        "530 5.7.0 first",
        "500 what",
    ] {
        let (said, end) = play(&all, &user("u", "p"), &[refusal]);
        assert_eq!(said.len(), 1, "{refusal}");
        assert!(matches!(end, Err(AuthFault::Refused(_))), "{refusal}");
    }
}

#[test]
fn without_a_common_mechanism_nothing_is_said() {
    let (said, end) = play(&offered("CRAM-MD5 GSSAPI"), &user("u", "p"), &[]);
    assert!(said.is_empty());
    assert!(matches!(end, Err(AuthFault::NotOffered(_))));
}

#[test]
fn a_reply_that_repeats_the_password_is_not_passed_on() {
    let tim = user("tim", "tanstaaftanstaaf");
    for echo in [
        "535 no such password: tanstaaftanstaaf",
        "535 AHRpbQB0YW5zdGFhZnRhbnN0YWFm?",
        "535-a\r\n535 dGFuc3RhYWZ0YW5zdGFhZg==",
    ] {
        let (_, end) = play(&offered("PLAIN"), &tim, &[echo]);
        let shown = format!("{:?} {}", end, end.as_ref().unwrap_err());
        assert!(
            !shown.contains("tanstaaf") && !shown.contains("AHRp"),
            "{shown}"
        );
        assert!(!shown.contains("dGFu"), "{shown}");
        assert!(shown.contains("535"), "{shown}");
    }
}

#[test]
fn endless_challenges_end_the_login() {
    for (mechanism, replies) in [
        ("LOGIN", vec!["334 a", "334 b", "334 c"]),
        ("PLAIN", vec!["334 a", "334 b"]),
        ("SCRAM-SHA-256", vec!["334 !"]),
        ("LOGIN", vec!["235 ok"]),
    ] {
        let (_, end) = play(&offered(mechanism), &user("u", "p"), &replies);
        assert_eq!(end, Err(AuthFault::Protocol), "{mechanism}");
    }
}
