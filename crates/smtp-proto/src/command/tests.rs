use mail_types::{DomainError, Host};
use proptest::prelude::*;

use super::*;

fn mail(line: &str) -> Result<MailCommand, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Mail(mail) => Ok(mail),
        other => panic!("{other:?}"),
    }
}

fn rcpt(line: &str) -> Result<RcptCommand, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Rcpt(rcpt) => Ok(rcpt),
        other => panic!("{other:?}"),
    }
}

fn mailbox(line: &str) -> String {
    match rcpt(line).unwrap().path {
        ForwardPath::Mailbox(m) => m.to_string(),
        ForwardPath::Postmaster => panic!("postmaster"),
    }
}

#[test]
fn e3_14_verbs_in_any_case_and_local_parts_keep_theirs() {
    let m = mail("MaIl FrOm:<A.b@D.Test> sIzE=10 body=8bitMime").unwrap();
    assert_eq!(m.path.to_string(), "A.b@D.Test");
    assert_eq!((m.size, m.body), (Some(10), Some(BodyType::EightBit)));
    let Some(Host::Domain(d)) = m.path.mailbox().map(Mailbox::host) else {
        panic!()
    };
    assert_eq!(d.as_str(), "d.test");
}

#[test]
fn e4_05_no_text_after_rset_data_quit() {
    for verb in ["RSET", "DATA", "QUIT", "STARTTLS"] {
        assert!(Command::parse(format!("{verb}  ").as_bytes()).is_ok());
        assert!(matches!(
            Command::parse(format!("{verb} x").as_bytes()),
            Err(CommandError::Syntax(_))
        ));
    }
    assert_eq!(Command::parse(b"noop whatever"), Ok(Command::Noop));
    for bad in ["EHLO", "HELO ", "VRFY", "EXPN", "XFORWARD", "EHLO a b"] {
        assert!(
            matches!(Command::parse(bad.as_bytes()), Err(CommandError::Syntax(_))),
            "{bad}"
        );
    }
}

#[test]
fn e4_06_parameters_of_mail() {
    use CommandError::{ParameterForm, Syntax, UnknownParameter};
    let parameter = |name| move |e: &CommandError| matches!(e, CommandError::Parameter { name: n, .. } if *n == name);
    type Check = Box<dyn Fn(&CommandError) -> bool>;
    let rows: Vec<(&str, Check, &str)> = vec![
        ("FOO=1", Box::new(|e| *e == UnknownParameter), "unknown"),
        (
            "NOTIFY=NEVER",
            Box::new(|e| *e == UnknownParameter),
            "RCPT's",
        ),
        ("SIZE=", Box::new(|e| *e == ParameterForm), "empty value"),
        ("SIZE", Box::new(parameter("SIZE")), "no value"),
        ("SIZE=abc", Box::new(parameter("SIZE")), "E4-24"),
        ("SIZE=-1", Box::new(parameter("SIZE")), "sign"),
        (
            "SIZE=123456789012345678901",
            Box::new(parameter("SIZE")),
            "21 digits",
        ),
        ("SIZE=1 SIZE=1", Box::new(parameter("SIZE")), "twice"),
        ("BODY=FOO", Box::new(parameter("BODY")), "E4-25"),
        ("BODY=BINARYMIME", Box::new(parameter("BODY")), "E2-45"),
        ("REQUIRETLS=1", Box::new(parameter("REQUIRETLS")), "D1-02"),
        (
            "REQUIRETLS REQUIRETLS",
            Box::new(parameter("REQUIRETLS")),
            "D1-02",
        ),
        (
            "SMTPUTF8=1",
            Box::new(parameter("SMTPUTF8")),
            "takes no value",
        ),
        ("RET=SOME", Box::new(parameter("RET")), "F1-04"),
        ("RET=FULL RET=FULL", Box::new(parameter("RET")), "F1-06"),
        ("ENVID=a ENVID=a", Box::new(parameter("ENVID")), "F1-06"),
        ("ENVID=+zz", Box::new(parameter("ENVID")), "F1-05"),
        (
            "ENVID=a=b",
            Box::new(|e| *e == ParameterForm),
            "= in a value",
        ),
        ("=x", Box::new(|e| *e == ParameterForm), "no keyword"),
        ("-A=x", Box::new(|e| *e == ParameterForm), "hyphen first"),
    ];
    for (parameters, check, why) in rows {
        let error = mail(&format!("MAIL FROM:<a@b.test> {parameters}")).unwrap_err();
        assert!(check(&error), "{parameters} ({why}): {error:?}");
    }
    for bad in ["MAIL", "MAIL <a@b.test>", "MAIL TO:<a@b.test>"] {
        assert!(matches!(mail(bad), Err(Syntax(_))), "{bad}");
    }
    let long = format!("MAIL FROM:<> ENVID={}", "e".repeat(101));
    assert!(mail(&long).is_err(), "F1-05: 101 characters");
    assert!(
        mail(&long[..long.len() - 1]).is_ok(),
        "F1-05: 100 characters"
    );
    let huge = mail("MAIL FROM:<> SIZE=99999999999999999999").unwrap();
    assert_eq!(huge.size, Some(u64::MAX), "20 digits are grammar");
}

#[test]
fn f1_08_everything_together() {
    let m = mail(
        "MAIL FROM:<a@b.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1 SMTPUTF8 REQUIRETLS AUTH=a+3Db",
    )
    .unwrap();
    assert!(m.smtputf8 && m.requiretls);
    assert_eq!(
        (m.ret, m.envid.as_deref()),
        (Some(Ret::Headers), Some("QQ+2B1"))
    );
}

#[test]
fn f1_02_notify() {
    let of = |list: &str| rcpt(&format!("RCPT TO:<a@b.test> NOTIFY={list}")).map(|r| r.notify);
    assert_eq!(of("never"), Ok(Notify::Never));
    assert_eq!(
        of("SUCCESS,delay"),
        Ok(Notify::On {
            success: true,
            failure: false,
            delay: true
        })
    );
    for bad in [
        "NEVER,FAILURE",
        "",
        "SOMETIMES",
        "SUCCESS,",
        ",DELAY",
        "SUCCESS;DELAY",
    ] {
        assert!(of(bad).is_err(), "{bad}");
    }
    assert!(rcpt("RCPT TO:<a@b.test> NOTIFY=SUCCESS NOTIFY=FAILURE").is_err());
}

#[test]
fn f1_03_orcpt() {
    let of = |text: &str| rcpt(&format!("RCPT TO:<a@b.test> ORCPT={text}")).map(|r| r.orcpt);
    for good in [
        "rfc822;Bob+2BX@d.test",
        "x-local;a",
        "utf-8;ü@d.test",
        "utf-8;\\x{FC}@d.test",
    ] {
        assert_eq!(of(good).unwrap().as_deref(), Some(good));
    }
    let long = format!("rfc822;{}", "a".repeat(494));
    for bad in [
        "a@d.test",
        ";a",
        "rfc822;",
        "rfc 822;a",
        "rfc822;+0",
        "rfc822;+zz",
        "rfc822;ü@d.test",
        &long,
    ] {
        assert!(of(bad).is_err(), "{bad}");
    }
    assert!(of(&long[..500]).is_ok(), "500 characters");
    assert!(rcpt("RCPT TO:<a@b.test> ORCPT=rfc822;a ORCPT=rfc822;a").is_err());
}

#[test]
fn e4_08_source_routes_are_dropped_and_percent_is_not_routed() {
    for (line, want) in [
        ("RCPT TO:<@a,@b:u@d.test>", "u@d.test"),
        ("RCPT TO:<u%x.test@d.test>", "u%x.test@d.test"),
        ("RCPT TO: <u@d.test>", "u@d.test"),
        (r#"RCPT TO:<"a>b"@d.test>"#, r#""a>b"@d.test"#),
        (r#"RCPT TO:<"a b"@d.test> "#, r#""a b"@d.test"#),
    ] {
        assert_eq!(mailbox(line), want, "{line}");
    }
    for bad in [
        "RCPT TO:<@a,b:u@d.test>",
        "RCPT TO:<@a u@d.test>",
        "RCPT TO:<@:u@d.test>",
        "RCPT TO:<u@d.test",
        "RCPT TO:u@d.test",
        "RCPT TO:<u@d.test>x",
        "RCPT TO:<>",
    ] {
        assert!(
            matches!(rcpt(bad), Err(CommandError::Recipient(_))),
            "{bad}"
        );
    }
}

#[test]
fn e4_07_bad_domains() {
    assert_eq!(
        rcpt("RCPT TO:<a@d_x.test>"),
        Err(CommandError::Recipient(PathError::Mailbox(
            MailboxError::Domain(DomainError::BadCharacter('_'))
        )))
    );
    assert!(matches!(
        mail("MAIL FROM:<a@-d.test>"),
        Err(CommandError::Sender(_))
    ));
}

#[test]
fn e4_09_postmaster_without_a_domain() {
    assert_eq!(
        rcpt("rcpt to:<PostMaster>").unwrap().path,
        ForwardPath::Postmaster
    );
    assert!(
        mail("MAIL FROM:<postmaster>").is_err(),
        "no sender is local to us"
    );
}

#[test]
fn h5_07_control_characters() {
    for bad in [
        &b"RCPT TO:<a\0b@d.test>"[..],
        b"EHLO a\x07",
        b"NOOP \x7f",
        b"EHLO \xff",
    ] {
        assert_eq!(Command::parse(bad), Err(CommandError::Text));
    }
    assert_eq!(Command::parse(b"\0\x01"), Err(CommandError::Unknown));
    assert_eq!(Command::parse(b""), Err(CommandError::Unknown));
}

#[test]
fn h5_09_http() {
    assert_eq!(
        Command::parse(b"POST / HTTP/1.1"),
        Err(CommandError::OtherProtocol)
    );
}

#[test]
fn bdat() {
    let chunk = |size, last| Ok(Command::Bdat { size, last });
    assert_eq!(Command::parse(b"BDAT 0 last"), chunk(0, true));
    assert_eq!(Command::parse(b"bdat 86"), chunk(86, false));
    for bad in [
        "BDAT",
        "BDAT x",
        "BDAT 1 2",
        "BDAT -1",
        "BDAT 1 LAST x",
        "BDAT 99999999999999999999",
    ] {
        assert_eq!(
            Command::parse(bad.as_bytes()),
            Err(CommandError::Chunk),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn never_panics(verb in "(MAIL FROM:<|RCPT TO:<|EHLO |BDAT |XFORWARD )", rest: Vec<u8>) {
        let mut line = verb.into_bytes();
        line.extend_from_slice(&rest);
        let _ = Command::parse(&line);
    }

    #[test]
    fn what_is_parsed_has_no_control_characters(rest in "[ -~\\r\\n\\t\\x00]{0,60}") {
        let line = format!("RCPT TO:<{rest}@d.test> ORCPT=rfc822;{rest}");
        if let Ok(Command::Rcpt(r)) = Command::parse(line.as_bytes()) {
            let ForwardPath::Mailbox(mailbox) = r.path else { panic!("a domain is there") };
            prop_assert!(!mailbox.as_str().contains(char::is_control));
            prop_assert!(!r.orcpt.unwrap_or_default().contains(char::is_control));
        }
    }
}
