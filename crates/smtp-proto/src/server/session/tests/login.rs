//! AUTH, and what it changes.

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use data_encoding::BASE64;

use mail_types::{SenderPattern, Senders};

use super::*;
use crate::scram::{ScramKeys, ScramSecret, salted, sign};
use crate::server::{
    AuthAnswer, AuthRequest, ClientCertificate, Identity, LoginResult, Logins, Role, TlsRequiredNo,
};

/// Its user.
pub(super) fn ann() -> Identity {
    Identity {
        name: "ann".into(),
        senders: Senders::Any,
        max_message_size: None,
        names_submitters: false,
    }
}

fn secret() -> ScramSecret {
    let rounds = NonZeroU32::new(4096).unwrap();
    ScramSecret {
        salt: (*b"salt").into(),
        rounds,
        keys: ScramKeys::derive(b"secret", b"salt", rounds),
    }
}

impl Driver {
    /// There is one user, ann, with the password "secret"; busy is always refused for now.
    pub(super) fn authenticate(&mut self) {
        let request = self.session.take_auth_request().expect("a question");
        assert!(self.session.take_auth_request().is_none());
        assert!(!format!("{request:?}").contains("secret"), "{request:?}");
        let judge = |right: bool| match right {
            true => AuthAnswer::Accepted(ann()),
            false => AuthAnswer::Rejected,
        };
        self.session.authenticated(match request {
            AuthRequest::Password { user, .. } if &*user == "busy" => {
                AuthAnswer::NotNow("Too busy".into())
            }
            AuthRequest::Password { user, .. } if &*user == "weak" => AuthAnswer::TooWeak,
            AuthRequest::Password { user, password } => {
                judge(&*user == "ann" && *password == "secret")
            }
            AuthRequest::Scram { .. } => return self.session.scram_secret(secret(), "ours"),
            AuthRequest::Proof { user, holds } => judge(holds && &*user == "ann"),
            AuthRequest::Certificate { identity } => match identity {
                Some(identity) => AuthAnswer::Accepted(identity),
                None => AuthAnswer::Rejected,
            },
        });
    }

    /// Inside TLS, after EHLO, with PLAIN, LOGIN and SCRAM-SHA-256.
    fn logins(role: Role) -> Self {
        let mut driver = Self::clear(role);
        driver.told("STARTTLS");
        driver.told("EHLO c.test");
        driver
    }

    fn clear(role: Role) -> Self {
        let mut settings = settings();
        settings.tls = TlsMode::Required;
        settings.role = role;
        settings.logins = Logins {
            passwords: true,
            login: true,
            certificates: true,
        };
        let mut peer = peer();
        peer.relaying = Relaying::Refused;
        Self::new(settings, peer)
    }

    fn log_in(&mut self) {
        let reply = self.told(&format!("AUTH PLAIN {}", plain("", "ann", "secret")));
        assert_eq!(reply, "235 2.7.0 Welcome\r\n");
    }
}

fn plain(authzid: &str, user: &str, password: &str) -> String {
    BASE64.encode(format!("{authzid}\0{user}\0{password}").as_bytes())
}

pub(super) fn starts(reply: &str, with: &str) {
    assert!(reply.starts_with(with), "{reply:?} is not {with:?}");
}

const RIGHT: &str = "AGFubgBzZWNyZXQ=";

#[test]
fn g2_01_auth_has_its_place() {
    let mut d = Driver::clear(Role::Submission);
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // before EHLO
    d.told("EHLO c.test");
    d.told("STARTTLS");
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // EHLO was forgotten
    d.told("HELO c.test");
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // HELO has no extensions
    d.told("EHLO c.test");
    d.log_in();
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // once
    starts(&d.told("RSET"), "250");
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // RSET is no logout (row E4-04)

    let mut d = Driver::logins(Role::Relay);
    d.session.peer.relaying = Relaying::Allowed;
    starts(&d.told("MAIL FROM:<a@b.test>"), "250");
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "503 5.5.1"); // within a transaction
    starts(&d.told("RSET"), "250");
    d.log_in();
}

#[test]
fn g2_02_g1_04_nothing_is_offered_or_taken_in_clear() {
    let mut d = Driver::clear(Role::Submission);
    let ehlo = d.told("EHLO c.test");
    assert!(!ehlo.contains("AUTH"), "{ehlo}");
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256", "EXTERNAL", "X"] {
        starts(&d.told(&format!("AUTH {mechanism} {RIGHT}")), "538 5.7.11 ");
    }
    starts(&d.told("MAIL FROM:<a@b.test>"), "530 5.7.0 ");
    // Nobody is sent to a STARTTLS that is not there.
    Arc::make_mut(&mut d.session.settings).tls = TlsMode::Off;
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "502 5.5.1 ");
    Arc::make_mut(&mut d.session.settings).tls = TlsMode::Required;
    d.told("STARTTLS");
    let ehlo = d.told("EHLO c.test");
    assert!(
        ehlo.contains("250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{ehlo}"
    );
    starts(
        &d.told("MAIL FROM:<a@b.test>"),
        "530 5.7.0 Authentication required",
    );
    assert!(d.notices.iter().any(|n| matches!(
        n,
        Notice::Refused {
            cause: Cause::AuthRequired,
            ..
        }
    )));
    d.log_in();
    starts(&d.told("MAIL FROM:<a@b.test>"), "250");
}

#[test]
fn g2_03_each_mistake_has_its_reply() {
    for (line, want) in [
        ("AUTH CRAM-MD5", "504 5.5.4 "),
        ("AUTH NOSUCH AAAA", "504 5.5.4 "),
        ("AUTH EXTERNAL =", "504 5.5.4 "), // no certificate was shown
        ("AUTH SCRAM-SHA-256-PLUS", "504 5.5.4 "), // no exporter
        ("AUTH", "501 5.5.4 "),
        ("AUTH PLAIN ***", "501 5.5.2 "),
        ("AUTH PLAIN AAA", "501 5.5.2 "),
        ("AUTH PLAIN AAAA AAAA", "501 5.5.2 "),
        ("AUTH PLAIN =", "501 5.5.2 "), // decodes to nothing, which is no PLAIN message
        ("AUTH PLAIN YQ==", "501 5.5.2 "),
        ("AUTH PLAIN\r\n*", "334 \r\n501 5.7.0 "),
        ("AUTH PLAIN\r\nnot base64", "334 \r\n501 5.5.2 "),
        ("AUTH LOGIN\r\n*", "334 VXNlcm5hbWU6\r\n501 5.7.0 "),
        (
            "AUTH LOGIN\r\nYW5u\r\n*",
            "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n501 5.7.0 ",
        ),
    ] {
        let mut d = Driver::logins(Role::Submission);
        starts(&d.told(line), want);
        assert_eq!(
            d.told("NOOP"),
            "250 2.0.0 Ok\r\n",
            "{line}: the session goes on"
        );
        assert!(d.session.identity().is_none());
    }
}

#[test]
fn g2_03_lines_up_to_12288_octets() {
    for (octets, want) in [
        (12_288, "501 5.5.2 "),
        (12_289, "500 5.5.6 "),
        (50_000, "500 5.5.6 "),
    ] {
        // An answer to a challenge, and an initial response.
        for prefix in ["", "AUTH PLAIN "] {
            for step in [97, 700, 60_000] {
                let mut d = Driver::logins(Role::Submission);
                if prefix.is_empty() {
                    assert_eq!(d.told("AUTH PLAIN"), "334 \r\n");
                }
                d.replies.clear();
                let line = format!("{prefix}{}\r\n", "*".repeat(octets - prefix.len()));
                for part in line.as_bytes().chunks(step) {
                    d.send(part);
                }
                starts(&d.replies, want);
                assert_eq!(
                    d.told("NOOP"),
                    "250 2.0.0 Ok\r\n",
                    "{octets} {prefix:?} {step}"
                );
            }
        }
    }
    // A whole line of that length may be a login.
    let mut d = Driver::logins(Role::Submission);
    let long = plain("", "ann", &"x".repeat(9206));
    assert_eq!(long.len(), 12_288 - 4);
    assert_eq!(d.told("AUTH PLAIN"), "334 \r\n");
    starts(&d.told(&long), "535 5.7.8 ");
}

#[test]
fn g2_04_with_and_without_initial_response() {
    for dialogue in [
        format!("AUTH PLAIN {RIGHT}"),
        format!("auth plain   {RIGHT}"),
        format!("AUTH PLAIN\r\n{RIGHT}"),
        "AUTH LOGIN\r\nYW5u\r\nc2VjcmV0".to_owned(),
        "AUTH LOGIN YW5u\r\nc2VjcmV0".to_owned(),
    ] {
        let mut d = Driver::logins(Role::Submission);
        let replies = d.told(&dialogue);
        assert!(
            replies.ends_with("235 2.7.0 Welcome\r\n"),
            "{dialogue}: {replies}"
        );
        assert_eq!(&*d.session.identity().unwrap().name, "ann");
    }
    // All of it in one go, and octet by octet.
    let batch = format!("AUTH PLAIN\r\n{RIGHT}\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\n");
    for step in [1, 3, 1000] {
        let mut d = Driver::logins(Role::Submission);
        for part in batch.as_bytes().chunks(step) {
            d.send(part);
        }
        assert_eq!(codes(&d.replies), [334, 235, 250, 250]);
    }
}

#[test]
fn g2_05_bad_weak_and_not_now() {
    let mut d = Driver::logins(Role::Submission);
    for (user, password, want) in [
        ("ann", "wrong", "535 5.7.8 "),
        ("weak", "x", "534 5.7.9 "),
        ("busy", "x", "454 4.7.0 Too busy"),
    ] {
        starts(
            &d.told(&format!("AUTH PLAIN {}", plain("", user, password))),
            want,
        );
    }
    let results = d.notices.iter().filter_map(|n| match n {
        Notice::Login { user, result, .. } => Some((&**user, *result)),
        _ => None,
    });
    assert_eq!(
        results.collect::<Vec<_>>(),
        [
            ("ann", LoginResult::Rejected),
            ("weak", LoginResult::TooWeak),
            ("busy", LoginResult::NotNow)
        ]
    );
}

#[test]
fn g2_06_nobody_acts_for_somebody_else() {
    for (authzid, user, password, want) in [
        ("", "ann", "secret", "235"),
        ("ann", "ann", "secret", "235"),
        ("bob", "ann", "secret", "535 5.7.8 "),
        ("", "", "secret", "535 5.7.8 "),
        ("", "ann", "", "535 5.7.8 "),
        ("", "ann", "secret\0", "501 5.5.2 "),
        ("\0", "ann", "secret", "501 5.5.2 "),
    ] {
        let mut d = Driver::logins(Role::Submission);
        starts(
            &d.told(&format!("AUTH PLAIN {}", plain(authzid, user, password))),
            want,
        );
    }
}

/// A client's half, for "secret" and any server.
fn scram_final(bare: &str, challenge: &str, binding: &[u8], password: &[u8]) -> String {
    let nonce = challenge
        .strip_prefix("r=")
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let without_proof = format!("c={},r={nonce}", BASE64.encode(binding));
    let message = format!("{bare},{challenge},{without_proof}");
    let salted = salted(password, b"salt", NonZeroU32::new(4096).unwrap());
    let client_key = sign(&*salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client_key.as_ref());
    let signature = sign(stored.as_ref(), message.as_bytes());
    let pairs = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = pairs.map(|(k, s)| k ^ s).collect();
    BASE64.encode(format!("{without_proof},p={}", BASE64.encode(&proof)).as_bytes())
}

fn challenge(reply: &str) -> String {
    let text = reply.strip_prefix("334 ").expect("a challenge").trim_end();
    String::from_utf8(BASE64.decode(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn g2_07_scram_with_and_without_channel_binding() {
    let exporter = [9u8; 32];
    for (plus, initial) in [(false, true), (false, false), (true, true)] {
        let mut d = Driver::logins(Role::Submission);
        if plus {
            d.session
                .tls_client(ClientCertificate::None, Some(exporter));
        }
        let gs2 = if plus { "p=tls-exporter,," } else { "n,," };
        let name = if plus {
            "SCRAM-SHA-256-PLUS"
        } else {
            "SCRAM-SHA-256"
        };
        assert_eq!(d.told("EHLO c").contains("-PLUS"), plus);
        let bare = "n=ann,r=theirs";
        let first = BASE64.encode(format!("{gs2}{bare}").as_bytes());
        let reply = if initial {
            d.told(&format!("AUTH {name} {first}"))
        } else {
            assert_eq!(d.told(&format!("AUTH {name}")), "334 \r\n");
            d.told(&first)
        };
        let mut binding = gs2.as_bytes().to_vec();
        if plus {
            binding.extend(exporter);
        }
        let reply = d.told(&scram_final(bare, &challenge(&reply), &binding, b"secret"));
        assert!(challenge(&reply).starts_with("v="));
        assert!(d.session.identity().is_none(), "not before the last word");
        assert_eq!(d.told(""), "235 2.7.0 Welcome\r\n");
        assert_eq!(&*d.session.identity().unwrap().name, "ann");
    }
}

#[test]
fn g2_07_scram_refuses_what_is_wrong_and_can_be_cancelled() {
    let first = BASE64.encode(b"n,,n=ann,r=theirs");
    let begun = || {
        let mut d = Driver::logins(Role::Submission);
        let reply = d.told(&format!("AUTH SCRAM-SHA-256 {first}"));
        (d, challenge(&reply))
    };
    let (mut d, said) = begun();
    let wrong = scram_final("n=ann,r=theirs", &said, b"n,,", b"guess");
    starts(&d.told(&wrong), "535 5.7.8 ");
    let (mut d, said) = begun();
    let other = scram_final("n=ann,r=theirs", &said, b"y,,", b"secret");
    starts(&d.told(&other), "535 5.7.8 ");
    let (mut d, _) = begun();
    starts(&d.told("*"), "501 5.7.0 ");
    let (mut d, _) = begun();
    starts(&d.told("AAAA"), "501 5.5.2 ");
    let (mut d, said) = begun();
    let right = scram_final("n=ann,r=theirs", &said, b"n,,", b"secret");
    starts(&d.told(&right), "334 ");
    starts(&d.told("*"), "501 5.7.0 ");
    assert!(d.session.identity().is_none());
    starts(&d.told("MAIL FROM:<a@b.test>"), "530 5.7.0 ");
}

#[test]
fn g2_10_external_is_for_known_certificates() {
    for (certificate, response, want) in [
        (ClientCertificate::Of(ann()), "=", "235"),
        (ClientCertificate::Of(ann()), "YW5u", "235"),
        (ClientCertificate::Of(ann()), "Ym9i", "535 5.7.8 "),
        (ClientCertificate::Unknown, "=", "535 5.7.8 "),
        (ClientCertificate::Unknown, "YW5u", "535 5.7.8 "),
        (ClientCertificate::None, "=", "504 5.5.4 "),
    ] {
        let mut d = Driver::logins(Role::Submission);
        d.session.tls_client(certificate, None);
        starts(&d.told(&format!("AUTH EXTERNAL {response}")), want);
    }
    // The name of an identity is what SASLprep (RFC 4013) makes of it, and so is what a client says.
    let firm = Identity {
        name: "M\u{fc}ller GmbH".into(),
        ..ann()
    };
    let said = BASE64.encode("Mu\u{308}ller\u{a0}GmbH".as_bytes());
    let mut d = Driver::logins(Role::Submission);
    d.session.tls_client(ClientCertificate::Of(firm), None);
    starts(&d.told(&format!("AUTH EXTERNAL {said}")), "235");
    let mut d = Driver::logins(Role::Submission);
    d.session.tls_client(ClientCertificate::Of(ann()), None);
    assert_eq!(d.told("AUTH EXTERNAL"), "334 \r\n");
    starts(&d.told(""), "235");
}

#[test]
fn g2_11_three_attempts_in_a_session() {
    let mut d = Driver::logins(Role::Submission);
    for _ in 0..3 {
        starts(
            &d.told(&format!("AUTH PLAIN {}", plain("", "ann", "x"))),
            "535 5.7.8 ",
        );
    }
    // Even the right password comes too late, and STARTTLS cannot begin anew.
    starts(&d.told(&format!("AUTH PLAIN {RIGHT}")), "421 4.7.0 ");
    assert!(d.closed);
}

#[test]
fn g2_08_an_unknown_user_is_answered_alike() {
    let mut replies = Vec::new();
    for user in ["ann", "nobody"] {
        let mut d = Driver::logins(Role::Submission);
        let bare = format!("n={user},r=theirs");
        let first = BASE64.encode(format!("n,,{bare}").as_bytes());
        let said = d.told(&format!("AUTH SCRAM-SHA-256 {first}"));
        let wrong = scram_final(&bare, &challenge(&said), b"n,,", b"guess");
        replies.push((
            said,
            d.told(&wrong),
            d.told(&format!("AUTH PLAIN {}", plain("", user, "x"))),
        ));
    }
    assert_eq!(replies[0], replies[1]);
}

#[test]
fn g3_01_grounds_for_relaying() {
    let rcpt = |d: &mut Driver| {
        d.told("MAIL FROM:<a@b.test>");
        d.told("RCPT TO:<x@far.test>")
    };
    let mut d = Driver::logins(Role::Relay);
    starts(&rcpt(&mut d), "550 5.7.1 ");
    starts(&d.told("RSET"), "250");
    d.log_in();
    starts(&rcpt(&mut d), "250");
    let mut d = Driver::logins(Role::Relay);
    d.session.tls_client(ClientCertificate::Of(ann()), None);
    starts(&rcpt(&mut d), "250");
    let mut d = Driver::logins(Role::Relay);
    d.session.tls_client(ClientCertificate::Unknown, None);
    starts(&rcpt(&mut d), "550 5.7.1 ");
    // On a submission listener the network is no ground.
    let mut d = Driver::logins(Role::Submission);
    d.session.peer.relaying = Relaying::Allowed;
    starts(&d.told("MAIL FROM:<a@b.test>"), "530 5.7.0 ");
    let mut d = Driver::logins(Role::Submission);
    d.session.tls_client(ClientCertificate::Of(ann()), None);
    starts(&rcpt(&mut d), "250");
}

#[test]
fn g2_01_starttls_forgets_who_the_client_was() {
    let mut d = Driver::logins(Role::Relay);
    d.log_in();
    d.session.tls_started(tls());
    assert!(d.session.identity().is_none());
}

#[test]
fn g3_07_senders_of_an_identity() {
    let mut d = Driver::logins(Role::Submission);
    let mut ann = ann();
    ann.senders = Senders::Only([SenderPattern::parse("ann@b.test").unwrap()].into());
    d.session.tls_client(ClientCertificate::Of(ann), None);
    starts(
        &d.told("MAIL FROM:<bob@b.test>"),
        "550 5.7.1 ann may not send as this address",
    );
    starts(&d.told("MAIL FROM:<ann@b.test>"), "250");
    starts(&d.told("RSET"), "250");
    starts(&d.told("MAIL FROM:<>"), "250");
}

#[test]
fn g3_08_submitted_addresses_are_complete() {
    let mut d = Driver::logins(Role::Submission);
    d.log_in();
    starts(&d.told("MAIL FROM:<a@host>"), "550 5.1.8 ");
    starts(&d.told("MAIL FROM:<a@b.test>"), "250");
    starts(&d.told("RCPT TO:<x@host>"), "550 5.1.2 ");
    starts(&d.told("RCPT TO:<x@[192.0.2.1]>"), "250");
    // On a relay listener that is the upstream's business.
    let mut d = Driver::plain();
    d.told("EHLO c.test");
    starts(&d.told("MAIL FROM:<a@host>"), "250");
    starts(&d.told("RCPT TO:<x@host>"), "250");
}

#[test]
fn g2_13_the_submitter_is_believed_of_trusted_identities_only() {
    use mail_types::Submitter;
    let named = Submitter::Mailbox("x@y.test".parse().unwrap());
    for (trusted, given, want) in [
        (false, "", None),
        (false, " AUTH=x@y.test", Some(Submitter::Unknown)),
        (false, " AUTH=<>", Some(Submitter::Unknown)),
        (true, "", None),
        (true, " AUTH=<>", Some(Submitter::Unknown)),
        (true, " AUTH=x+40y.test", Some(named)),
        (true, " AUTH=no-address", Some(Submitter::Unknown)),
    ] {
        let mut d = Driver::logins(Role::Submission);
        let mut ann = ann();
        ann.names_submitters = trusted;
        d.session.tls_client(ClientCertificate::Of(ann), None);
        starts(&d.told(&format!("MAIL FROM:<a@b.test>{given}")), "250");
        d.told("RCPT TO:<x@far.test>");
        d.told("DATA");
        starts(&d.told("Subject: x\r\n\r\nx\r\n."), "250");
        let (envelope, _) = d.only_message();
        assert_eq!(envelope.arrival.submitter, want, "{trusted} {given}");
    }
}

#[test]
fn d2_01_amb_32_a_login_is_authenticated() {
    for (rule, login, want) in [
        (TlsRequiredNo::Authenticated, true, true),
        (TlsRequiredNo::Authenticated, false, false),
        (TlsRequiredNo::Never, true, false),
        (TlsRequiredNo::All, false, true),
    ] {
        let mut settings = settings();
        settings.tls = TlsMode::Required;
        settings.logins.passwords = true;
        settings.dangerous_tls_required_no = rule;
        let mut d = Driver::new(settings, peer());
        d.told("STARTTLS");
        d.told("EHLO c.test");
        if login {
            d.log_in();
        }
        d.told("MAIL FROM:<a@b.test>\r\nRCPT TO:<x@far.test>\r\nDATA");
        starts(&d.told("TLS-Required: No\r\n\r\nx\r\n."), "250");
        let (envelope, trace) = d.only_message();
        assert_eq!(envelope.tls_required_no, want, "{rule:?} {login}");
        assert_eq!(envelope.arrival.identity.as_deref(), login.then_some("ann"));
        assert_eq!(trace.contains("with ESMTPSA id"), login); // row G5-01
        assert!(
            !trace.contains("ann"),
            "the user is not named in the trace header"
        );
    }
}

#[test]
fn g2_12_nothing_prints_a_password() {
    let mut d = Driver::logins(Role::Submission);
    let line = format!("AUTH PLAIN {RIGHT}");
    let parsed = crate::Command::parse(line.as_bytes()).unwrap();
    assert_eq!(format!("{parsed:?}"), "Auth(AuthText(\"PLAIN\"))");
    let whole = format!("{line}\r\n");
    let (used, action) = d.session.handle(whole.as_bytes(), now());
    assert_eq!(used, whole.len());
    let shown = format!("{action:?} {:?}", d.session);
    assert!(
        !shown.contains("secret") && !shown.contains(RIGHT),
        "{shown}"
    );
    let shown = format!("{:?}", secret());
    assert!(shown.contains("ScramKeys { .. }"), "{shown}");
}

#[test]
fn names_in_the_log_are_short_and_printable() {
    let mut d = Driver::logins(Role::Submission);
    let odd = format!("a\r\nb{}", "x".repeat(500));
    starts(
        &d.told(&format!("AUTH PLAIN {}", plain("", &odd, "x"))),
        "535",
    );
    let Some(Notice::Login { user, .. }) = d.notices.last() else {
        panic!("{:?}", d.notices);
    };
    assert_eq!(&**user, &format!("a  b{}", "x".repeat(60)));
}
