//! The message: its final lines, its sender, its recipients.

use mail_types::{Domain, Field, Mailbox, Ret, ReversePath, Timestamp, header_fields};
use submission::{Covered, Fixups, addresses};

use crate::qualify;
use crate::text::{encoded_words, lines, printable};
use crate::{Exit, Failure, Options};

/// What is known besides the arguments.
#[derive(Clone, Debug)]
pub struct Site {
    /// `server.hostname`: what addresses without a domain get, and the name in EHLO.
    pub hostname: Domain,
    /// Who calls.
    pub login: String,
    /// When.
    pub now: Timestamp,
    /// A word that no other message has; for its Message-ID.
    pub unique: String,
}

/// A message that is ready to be handed over.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) sender: ReversePath,
    pub(crate) recipients: Vec<Mailbox>,
    pub(crate) content: Vec<u8>,
    /// MAIL and RCPT parameters of DSN (RFC 3461).
    pub(crate) ret: Option<Ret>,
    pub(crate) envid: Option<String>,
    pub(crate) notify: Option<String>,
    pub(crate) eight_bit: bool,
    pub(crate) utf8: bool,
}

impl Message {
    /// From the arguments and all of the input.
    ///
    /// # Errors
    /// There is no recipient, or an address is none.
    pub fn new(options: &Options, input: &[u8], site: &Site) -> Result<Self, Failure> {
        let text = lines(input, options.ignore_dots);
        let text = without_mbox_line(&text);
        let (fields, rest) = header_fields(text);
        let recipients = recipients(options, &fields, site)?;
        let sender = match options.sender.as_deref() {
            None => ReversePath::Mailbox(qualified(&site.login, site, Exit::Usage)?),
            Some("" | "<>") => ReversePath::Null,
            Some(given) => {
                let address = addresses(given.as_bytes()).into_iter().next();
                let address = address.unwrap_or_else(|| given.to_owned());
                ReversePath::Mailbox(qualified(&address, site, Exit::Usage)?)
            }
        };
        let content = content(options, &fields, rest, &sender, site)?;
        let envelope_is_ascii = recipients
            .iter()
            .chain(sender.mailbox())
            .all(|m| m.as_str().is_ascii());
        Ok(Self {
            eight_bit: !content.is_ascii() || options.body == Some(mail_types::BodyType::EightBit),
            utf8: !envelope_is_ascii,
            sender,
            recipients,
            content,
            ret: options.ret,
            envid: options.envid.clone(),
            notify: options.notify.as_ref().map(|n| n.0.clone()),
        })
    }
}

/// Mended as a submission server would (RFC 6409 section 8), with a From, and with a domain behind
/// each address.
fn content(
    options: &Options,
    fields: &[Field<'_>],
    rest: &[u8],
    sender: &ReversePath,
    site: &Site,
) -> Result<Vec<u8>, Failure> {
    let fixups = Fixups {
        hostname: site.hostname.clone(),
        require_from: false,
        add_sender: false,
    };
    let mended = fixups
        .mend(fields, None, &site.unique, site.now)
        .map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    let mut content = mended.added.into_bytes();
    if !fields.iter().any(|f| f.is("From") || f.is("Resent-From")) {
        content.extend_from_slice(from(options, sender, site).as_bytes());
    }
    let covered = Covered::by(fields);
    for field in &mended.kept {
        let name = String::from_utf8_lossy(field.name());
        let whole = match covered.holds(&name) {
            true => None,
            false => qualify::qualified(field, &site.hostname),
        };
        content.extend_from_slice(whole.as_deref().unwrap_or_else(|| field.raw()));
    }
    if !rest.starts_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(rest);
    Ok(content)
}

fn from(options: &Options, sender: &ReversePath, site: &Site) -> String {
    let address = sender.mailbox().map_or_else(
        || format!("{}@{}", site.login, site.hostname),
        |mailbox| mailbox.as_str().to_owned(),
    );
    match options.full_name.as_deref().map(printable) {
        Some(name) if name.trim().is_empty() => format!("From: {address}\r\n"),
        Some(name) if name.is_ascii() => {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("From: \"{escaped}\" <{address}>\r\n")
        }
        Some(name) => format!("{}\r\n <{address}>\r\n", encoded_words("From: ", &name)),
        None => format!("From: {address}\r\n"),
    }
}

fn recipients(
    options: &Options,
    fields: &[Field<'_>],
    site: &Site,
) -> Result<Vec<Mailbox>, Failure> {
    let mut found: Vec<Mailbox> = Vec::new();
    let mut add = |address: &str, exit: Exit| {
        let mailbox = qualified(address, site, exit)?;
        if !found.contains(&mailbox) {
            found.push(mailbox);
        }
        Ok(())
    };
    for argument in &options.recipients {
        for address in addresses(argument.as_bytes()) {
            add(&address, Exit::Usage)?;
        }
    }
    if options.recipients_in_header {
        let named = |names: [&str; 3]| -> Vec<&Field<'_>> {
            fields
                .iter()
                .filter(|f| names.iter().any(|n| f.is(n)))
                .collect()
        };
        let mut lists = named(["Resent-To", "Resent-Cc", "Resent-Bcc"]);
        if lists.is_empty() {
            lists = named(["To", "Cc", "Bcc"]);
        }
        for address in lists.iter().flat_map(|f| addresses(f.value())) {
            add(&address, Exit::Data)?;
        }
    }
    match (found.is_empty(), options.recipients_in_header) {
        (false, _) => Ok(found),
        (true, true) => Err(Failure::usage("no recipient in To, Cc or Bcc")),
        (true, false) => Err(Failure::usage(
            "no recipient: give addresses behind the flags, or -t",
        )),
    }
}

/// An address without a domain is one here.
fn qualified(address: &str, site: &Site, exit: Exit) -> Result<Mailbox, Failure> {
    // What is no UTF-8 was replaced on its way here: mail for it would go to somebody else.
    if address.contains(char::REPLACEMENT_CHARACTER) {
        let text = format!("<{}>: it is not in UTF-8", printable(address));
        return Err(Failure::new(exit, text));
    }
    let parsed = if address.contains('@') {
        Mailbox::parse(address)
    } else {
        Mailbox::parse(&format!("{address}@{}", site.hostname))
    };
    parsed.map_err(|error| Failure::new(exit, format!("<{}>: {error}", printable(address))))
}

/// Mailbox files begin their messages with a line that is no header field.
fn without_mbox_line(text: &[u8]) -> &[u8] {
    if !(text.starts_with(b"From ") || text.starts_with(b">From ")) {
        return text;
    }
    let end = text
        .iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |lf| lf + 1);
    text.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            hostname: Domain::parse("host.test").unwrap(),
            login: "root".into(),
            now: Timestamp::from_secs(1_772_366_400),
            unique: "u1".into(),
        }
    }

    fn message(line: &str, input: &str) -> Result<Message, Failure> {
        let options = Options::parse(line.split_whitespace().map(str::to_owned))?;
        Message::new(&options, input.as_bytes(), &site())
    }

    fn content(message: &Message) -> &str {
        std::str::from_utf8(&message.content).unwrap()
    }

    const ADDED: &str = "Date: Sun, 01 Mar 2026 12:00:00 +0000\r\nMessage-ID: <u1@host.test>\r\n";

    #[test]
    fn a_mail_of_cron() {
        let mail = message(
            "-i -FCronDaemon root",
            "From: \"(Cron Daemon)\" <root>\nTo: root\n\nhello",
        )
        .unwrap();
        let root = Mailbox::parse("root@host.test").unwrap();
        assert_eq!(mail.sender, ReversePath::Mailbox(root));
        assert_eq!(mail.recipients, [Mailbox::parse("root@host.test").unwrap()]);
        let want = format!(
            "{ADDED}From: \"(Cron Daemon)\" <root@host.test>\r\nTo: root@host.test\r\n\r\nhello\r\n"
        );
        assert_eq!(content(&mail), want);
        let signed = "DKIM-Signature: v=1; h=from : subject; b=x\n";
        let mail = message("root", &format!("{signed}From: root\nTo: root\n\nx\n")).unwrap();
        let text = content(&mail);
        assert!(
            text.contains("From: root\r\nTo: root@host.test\r\n"),
            "{text}"
        );
    }

    #[test]
    fn recipients_of_the_header_and_no_bcc() {
        let input = "To: A <a@d.test>,\n b@d.test\nCc: a@d.test\nBcc: secret@d.test\nFrom: me@d.test\n\nx\n";
        let mail = message("-t c@d.test", input).unwrap();
        let to: Vec<&str> = mail.recipients.iter().map(Mailbox::as_str).collect();
        assert_eq!(to, ["c@d.test", "a@d.test", "b@d.test", "secret@d.test"]);
        assert!(!content(&mail).to_lowercase().contains("secret"));
        let resent = message("-t", &format!("Resent-To: r@d.test\n{input}")).unwrap();
        assert_eq!(resent.recipients.len(), 1);
        assert_eq!(
            message("-t", "Subject: x\n\n").unwrap_err().exit,
            Exit::Usage
        );
        assert_eq!(message("", "Subject: x\n\n").unwrap_err().exit, Exit::Usage);
        assert_eq!(
            message("-t", "To: a b@c@d\n\n").unwrap_err().exit,
            Exit::Data
        );
        assert_eq!(message("a..b@d.test", "x\n").unwrap_err().exit, Exit::Usage);
        for list in [
            "jane doe@d.test",
            "Bob bob@d.test",
            "ok@d.test, a at d.test",
        ] {
            let joined = message("-t", &format!("To: {list}\n\n"));
            assert_eq!(joined.unwrap_err().exit, Exit::Data, "{list}");
        }
    }

    #[test]
    fn an_address_that_is_no_utf8_is_no_address() {
        let options = Options::parse(["-t".to_owned()]).unwrap();
        let failed = Message::new(&options, b"To: \xfc@d.test\n\nx\n", &site()).unwrap_err();
        assert_eq!(failed.exit, Exit::Data, "{failed}");
        assert!(failed.message.contains("not in UTF-8"), "{failed}");
    }

    #[test]
    fn a_body_alone_gets_a_header() {
        let mail = message("-F Joe\"X -f bounce@d.test a@d.test", "just text\n").unwrap();
        let want = format!("{ADDED}From: \"Joe\\\"X\" <bounce@d.test>\r\n\r\njust text\r\n");
        assert_eq!(content(&mail), want);
        let mail = message("-f <> a@d.test", "Subject: x\n").unwrap();
        assert_eq!(mail.sender, ReversePath::Null);
        assert!(content(&mail).contains("From: root@host.test\r\nSubject: x\r\n\r\n"));
        let mail = message(
            "a@d.test",
            "From me Sun Mar  1 12:00:00 2026\nFrom: me@d.test\n\nx\n",
        )
        .unwrap();
        assert!(content(&mail).ends_with("ID: <u1@host.test>\r\nFrom: me@d.test\r\n\r\nx\r\n"));
    }

    #[test]
    fn a_full_name_is_never_lost() {
        let options = |name: &str| {
            let line = ["-F", name, "-f", "me@d.test", "a@d.test"];
            Options::parse(line.map(str::to_owned)).unwrap()
        };
        for (name, from) in [
            ("Joe User", "\"Joe User\" <me@d.test>"),
            (
                "Joe \u{dc}mlaut",
                "=?UTF-8?Q?Joe_=C3=9Cmlaut?=\r\n <me@d.test>",
            ),
            ("  ", "me@d.test"),
        ] {
            let mail = Message::new(&options(name), b"Subject: x\n\nx\n", &site()).unwrap();
            let want = format!("{ADDED}From: {from}\r\nSubject: x\r\n\r\nx\r\n");
            assert_eq!(content(&mail), want);
            assert!(!mail.utf8 && !mail.eight_bit);
        }
    }

    #[test]
    fn eight_bits_are_seen() {
        let mail = message("a@d.test", "Subject: x\n\n\u{fc}\n").unwrap();
        assert!(mail.eight_bit && !mail.utf8);
        let mail = message("\u{fc}@d.test", "Subject: x\n\nx\n").unwrap();
        assert!(mail.utf8 && !mail.eight_bit);
    }
}
