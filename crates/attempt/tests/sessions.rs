//! Sessions and logins in Postfix's words, and in no other format.

use std::net::IpAddr;

use mail_types::Timestamp;

use attempt::{
    Broken, BrokenBy, Fields, Format, Formatter, Level, LogEvent, LoginRejected, PostfixEvent,
    SessionBegun, SessionEnded,
};

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_250);
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
const START: &str = "Mar  1 12:00:00 relay.test sealpost/smtpd[23]: ";

fn lines(format: Format, event: &dyn PostfixEvent) -> String {
    let mut out = Vec::new();
    Formatter::new(format, "relay.test", "sealpost", 7).write_postfix(event, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn ended(broken: Option<Broken<'_>>, commands: &'static [(&'static str, u32, u32)]) -> String {
    let event = SessionEnded {
        at: NOW,
        session: 23,
        client: CLIENT,
        broken,
        commands: || commands.iter().copied(),
    };
    for format in [
        Format::Json,
        Format::Journal,
        Format::Text { colour: false },
    ] {
        assert_eq!(lines(format, &event), "");
    }
    lines(Format::Postfix, &event)
}

/// As the programs of Postfix 3.7 write them.
#[test]
fn a_session_begins_and_ends_as_with_postfix() {
    let begun = SessionBegun {
        at: NOW,
        session: 23,
        client: CLIENT,
    };
    assert_eq!(
        lines(Format::Postfix, &begun),
        format!("{START}connect from unknown[192.0.2.9]\n")
    );
    assert_eq!(lines(Format::Json, &begun), "");
    let whole = [
        ("EHLO", 1, 1),
        ("MAIL", 1, 1),
        ("RCPT", 1, 1),
        ("DATA", 1, 1),
        ("QUIT", 1, 1),
    ];
    let whole: &[_] = Box::leak(Box::new(whole));
    assert_eq!(
        ended(None, whole),
        format!(
            "{START}disconnect from unknown[192.0.2.9] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\n"
        )
    );
    let lost = |by, after, octets| Some(Broken { by, after, octets });
    assert_eq!(
        ended(
            lost(BrokenBy::Loss, "AUTH", None),
            &[("EHLO", 1, 1), ("AUTH", 0, 2)]
        ),
        format!(
            "{START}lost connection after AUTH from unknown[192.0.2.9]\n\
             {START}disconnect from unknown[192.0.2.9] ehlo=1 auth=0/2 commands=1/3\n"
        )
    );
    assert_eq!(
        ended(lost(BrokenBy::Loss, "CONNECT", None), &[]),
        format!(
            "{START}lost connection after CONNECT from unknown[192.0.2.9]\n\
             {START}disconnect from unknown[192.0.2.9] commands=0/0\n"
        )
    );
    for (by, after, octets, words) in [
        (
            BrokenBy::Timeout,
            "END-OF-MESSAGE",
            Some(12),
            "timeout after DATA (12 bytes)",
        ),
        (
            BrokenBy::Loss,
            "BDAT",
            Some(0),
            "lost connection after BDAT (0 bytes)",
        ),
        (BrokenBy::Errors, "RCPT", None, "too many errors after RCPT"),
    ] {
        let got = ended(lost(by, after, octets), &[]);
        let first = got.lines().next().unwrap();
        assert_eq!(first, format!("{START}{words} from unknown[192.0.2.9]"));
    }
}

struct Failed;

impl LogEvent for Failed {
    fn event(&self) -> &'static str {
        "smtp.in.login-failed"
    }
    fn level(&self) -> Level {
        Level::Warn
    }
    fn at(&self) -> Timestamp {
        NOW
    }
    fn fields(&self, fields: &mut Fields<'_>) {
        fields.add("user", "a b");
    }
}

#[test]
fn wrong_credentials_are_the_event_and_in_postfix_lines_its_warning() {
    let event = LoginRejected {
        event: &Failed,
        session: 23,
        client: CLIENT,
        mechanism: "LOGIN",
        user: "a b, status=sent (x)",
        helo: "c.test",
        listener: "submission",
    };
    let write = |format, event: &dyn LogEvent| {
        let mut out = Vec::new();
        Formatter::new(format, "relay.test", "sealpost", 7).write(event, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(
        write(Format::Postfix, &event),
        format!(
            "{START}warning: unknown[192.0.2.9]: SASL LOGIN authentication failed: authentication failure, \
             sasl_username=a_b__status_sent_[x] helo=<c.test> listener=submission\n"
        )
    );
    for format in [Format::Json, Format::Text { colour: false }] {
        assert_eq!(write(format, &event), write(format, &Failed));
    }
}
