//! Any line is a command or a refusal, and neither has a control character in it that could reach
//! a header, a log or another server; what is taken is taken again in the same way.

use smtp_proto::{Command, ForwardPath, xtext};

pub(super) fn check(line: &[u8]) {
    match Command::parse(line) {
        Ok(Command::Mail(mail)) => {
            let path = mail.path.to_string();
            text(&path);
            if let Some(envid) = &mail.envid {
                text(envid);
                assert!(envid.is_ascii() && !envid.contains(' '), "{envid:?}");
                assert!(xtext::decode(envid).is_ok(), "{envid:?}");
            }
            let again = format!("MAIL FROM:<{path}>");
            match Command::parse(again.as_bytes()) {
                Ok(Command::Mail(m)) => assert_eq!(m.path, mail.path, "{again}"),
                other => panic!("{again}: {other:?}"),
            }
        }
        Ok(Command::Rcpt(rcpt)) => {
            if let Some(orcpt) = &rcpt.orcpt {
                text(orcpt);
                assert!(orcpt.contains(';') && !orcpt.contains(' '), "{orcpt:?}");
            }
            let ForwardPath::Mailbox(mailbox) = &rcpt.path else {
                return;
            };
            text(mailbox.as_str());
            let again = format!("RCPT TO:<{mailbox}>");
            match Command::parse(again.as_bytes()) {
                Ok(Command::Rcpt(r)) => assert_eq!(r.path, rcpt.path, "{again}"),
                other => panic!("{again}: {other:?}"),
            }
        }
        Ok(Command::Ehlo(name) | Command::Helo(name)) => text(name),
        Ok(Command::Xforward(attributes) | Command::Xclient(attributes)) => text(attributes),
        Ok(_) => {}
        Err(error) => text(&error.to_string()),
    }
}

fn text(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
