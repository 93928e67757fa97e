//! `reporting.*`: TLS reports (RFC 8460), how they are read, and what is wrong with them.

use dkim::{OVERSIGNED_BY_DEFAULT, SIGNED_BY_DEFAULT, Signer};
use file_rights::Fault;
use ipnet::IpNet;
use mail_types::{Domain, Mailbox};

use super::build::Built;
use super::problem::Problem;
use super::reader::{Places, Reader};
use super::settings::Settings;
use super::signing::{Dkim, DkimBy};

/// `reporting.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporting {
    /// Whether sessions are counted and reports sent; never without `contact_info`.
    pub enabled: bool,
    /// `organization-name`; the submitter's domain unless it is set, empty without `contact_info`.
    pub organization_name: String,
    /// Whom the receiver of a report may write to, in ASCII, at a domain.
    pub contact_info: Option<Mailbox>,
    /// Reports are compressed.
    pub gzip: bool,
    /// Special-use networks that the hosts of reports by HTTPS may resolve to.
    pub allow_special_use: Vec<IpNet>,
    /// The key that signs reports by mail, if they have one of their own.
    pub dkim: Option<Dkim>,
}

impl Reporting {
    /// The domain that reports (RFC 8460 section 5.3): that of `contact_info`.
    #[must_use]
    pub fn submitter(&self) -> Option<&Domain> {
        self.contact_info.as_ref()?.domain()
    }
}

impl Settings {
    /// Who signs reports by mail: the key of `reporting.*`, or else those of `[[dkim]]` for the domain that
    /// reports. What is particular to reports is signed with them (section 5.3). Empty if there is no key: then
    /// none goes by mail (section 3).
    ///
    /// # Errors
    /// What is wrong with a key, with its file's name.
    pub fn report_signers(&self) -> Result<Vec<Signer>, String> {
        let keys = self.report_keys();
        keys.map(|key| {
            let mut key = key.clone();
            key.signed_headers.extend(OF_REPORTS.map(str::to_owned));
            key.signer()
        })
        .collect()
    }

    fn report_keys(&self) -> impl Iterator<Item = &Dkim> {
        let own = self.reporting.dkim.as_ref();
        let others = self.dkim.iter().filter(move |key| {
            own.is_none()
                && key.by == DkimBy::From
                && self.reporting.submitter() == Some(&key.domain)
        });
        own.into_iter().chain(others)
    }
}

pub(super) fn reporting(r: &mut Reader<'_>) -> Option<Reporting> {
    let s = r.whole();
    let contact = r.optional(s, CONTACT);
    let contact_info = contact.filter(|mailbox| is_usable(r, mailbox));
    let submitter = contact_info.as_ref().and_then(Mailbox::domain).cloned();
    let name: Option<String> = r.optional(s, "reporting.organization-name");
    let dkim = own_key(r, submitter.as_ref());
    let enabled: Option<bool> = r.optional(s, ENABLED);
    if enabled == Some(true) && !r.is_given(s, CONTACT) {
        let message = "is true, and nobody is named whom the receiver of a report may write to \
                       (RFC 8460 section 4.4)";
        r.refuse(
            ENABLED,
            message.into(),
            "set reporting.contact-info, or remove it",
        );
    }
    Some(Reporting {
        enabled: contact_info.is_some() && enabled != Some(false),
        organization_name: name
            .or_else(|| submitter.map(|domain| domain.to_string()))
            .unwrap_or_default(),
        contact_info,
        gzip: r.value(s, "reporting.gzip")?,
        allow_special_use: r.list(s, "reporting.allow-special-use")?,
        dkim,
    })
}

/// The key of its own, if all of it is named.
fn own_key(r: &mut Reader<'_>, submitter: Option<&Domain>) -> Option<Dkim> {
    let s = r.whole();
    let domain: Option<Domain> = r.optional(s, DOMAIN);
    let selector: Option<String> = r.optional(s, SELECTOR);
    let private_key = r.optional(s, PRIVATE_KEY);
    for (key, other) in [(SELECTOR, PRIVATE_KEY), (PRIVATE_KEY, SELECTOR)] {
        if r.is_given(s, key) && !r.is_given(s, other) {
            let message = format!("has no use without {other}");
            r.refuse(key, message, "set both, or remove it");
        }
    }
    if let Some((named, submitter)) = domain.as_ref().zip(submitter)
        && named != submitter
    {
        let message = format!(
            "{named} is not the domain of reporting.contact-info, {submitter}: receivers demand a \
             signature of the domain that reports (RFC 8460 sections 3 and 5.3)"
        );
        let remedy = "remove it, or name a mailbox of that domain in reporting.contact-info";
        r.refuse(DOMAIN, message, remedy);
    }
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Some(Dkim {
        domain: domain.or_else(|| submitter.cloned())?,
        selector: selector?,
        private_key: private_key?,
        algorithm: None,
        by: DkimBy::From,
        subdomains: false,
        networks: Vec::new(),
        expires: None,
        signed_headers: owned(SIGNED_BY_DEFAULT),
        oversigned_headers: owned(OVERSIGNED_BY_DEFAULT),
    })
}

/// Whether somebody can be written to there, and reports can come from there; if not it is told.
fn is_usable(r: &mut Reader<'_>, mailbox: &Mailbox) -> bool {
    let why = match mailbox.domain() {
        None => "has no domain: reports are those of a domain",
        Some(domain) if !domain.is_fully_qualified() => {
            "is not fully qualified: its domain has only one label"
        }
        Some(_) if mailbox.to_ascii().is_none() => {
            "is not ASCII: it is the sender of reports, which go to hosts without SMTPUTF8 too"
        }
        Some(_) => return true,
    };
    let message = format!("\"{mailbox}\" {why}");
    let remedy = "write a mailbox such as \"tls-reports@example.org\"";
    r.refuse(CONTACT, message, remedy);
    false
}

pub(super) fn check(built: &Built, places: &Places) -> Option<Problem> {
    let settings = &built.settings;
    let submitter = settings.reporting.submitter()?;
    if !settings.reporting.enabled || settings.report_keys().next().is_some() {
        return None;
    }
    let message = format!(
        "no DKIM key signs for {submitter}: reports go to those who take them by HTTPS, and to nobody by \
         mail (RFC 8460 section 3)"
    );
    let remedy = "set reporting.dkim-selector and reporting.dkim-private-key, or add a [[dkim]] key; \
                  `sealpost dkim keygen` makes one";
    Some(Problem::warning(
        places.of(CONTACT),
        CONTACT,
        message,
        remedy,
    ))
}

/// What is wrong with the key of its own, and below which name.
pub(super) fn faults(settings: &Settings) -> Vec<(String, Fault)> {
    let reporting = &settings.reporting;
    let key = reporting.dkim.as_ref().filter(|_| reporting.enabled);
    let faults = key.map(Dkim::faults).unwrap_or_default().into_iter();
    faults
        .map(|(key, fault)| (format!("reporting.dkim-{key}"), fault))
        .collect()
}

const ENABLED: &str = "reporting.enabled";
const CONTACT: &str = "reporting.contact-info";
const DOMAIN: &str = "reporting.dkim-domain";
const SELECTOR: &str = "reporting.dkim-selector";
const PRIVATE_KEY: &str = "reporting.dkim-private-key";
/// RFC 8460 section 5.3: they "SHOULD be included" in what is signed.
const OF_REPORTS: [&str; 2] = ["TLS-Report-Domain", "TLS-Report-Submitter"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::signing::tests::ED25519;
    use crate::tests::{problems, settings};

    const CONTACT: &str = "reporting.contact-info = \"tls@org.test\"\n";

    #[test]
    fn b3_04_reports_are_sent_exactly_if_somebody_is_named_for_questions() {
        let of = |text: &str| settings(text).reporting;
        assert!(!of("").enabled);
        let on = of(CONTACT);
        assert!(on.enabled && on.gzip);
        assert_eq!(on.organization_name, "org.test");
        assert_eq!(on.submitter().unwrap().as_str(), "org.test");
        assert!(!of(&format!("{CONTACT}reporting.enabled = false")).enabled);
        assert!(of(&format!("{CONTACT}reporting.enabled = true")).enabled);
        let named = format!("{CONTACT}reporting.organization-name = \"Org\"");
        assert_eq!(of(&named).organization_name, "Org");
        assert!(!of("reporting.enabled = false").enabled);
        for (text, want) in [
            ("reporting.enabled = true", "nobody is named whom"),
            (
                "reporting.contact-info = \"org.test\"",
                "is not a mail address",
            ),
            (
                "reporting.contact-info = \"a@[192.0.2.1]\"",
                "has no domain",
            ),
            ("reporting.contact-info = \"a@org\"", "not fully qualified"),
            ("reporting.contact-info = \"ä@org.test\"", "is not ASCII"),
        ] {
            let found = problems(text);
            let [problem] = &found[..] else {
                panic!("{text}: {found:?}")
            };
            assert!(
                problem.contains(want) && !problem.contains("warning"),
                "{problem}"
            );
        }
    }

    #[test]
    fn b4_11_who_reports_is_who_signs() {
        for (text, want) in [
            (
                "dkim-domain = \"other.test\"",
                "not the domain of reporting.contact-info, org.test",
            ),
            (
                "dkim-selector = \"s\"",
                "has no use without reporting.dkim-private-key",
            ),
            (
                "dkim-private-key = \"/none\"",
                "has no use without reporting.dkim-selector",
            ),
            (
                "dkim-selector = \"s\"\nreporting.dkim-private-key = \"/none\"",
                "reporting.dkim-private-key: /none",
            ),
        ] {
            let found = problems(&format!("{CONTACT}reporting.{text}"));
            assert!(found.iter().any(|p| p.contains(want)), "{text}: {found:?}");
        }
        // Off: its files are not looked at.
        let off = "reporting.enabled = false\nreporting.dkim-selector = \"s\"\nreporting.dkim-private-key = \"/none\"";
        assert_eq!(problems(&format!("{CONTACT}{off}")), Vec::<String>::new());
    }

    #[test]
    fn b4_14_a_missing_key_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        std::fs::write(&file, ED25519).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let key = file.display();
        let warned = |text: &str| {
            let found = problems(&format!("{CONTACT}{text}"));
            found.iter().any(|p| {
                p.contains("warning: reporting.contact-info: no DKIM key signs for org.test")
            })
        };
        let signers = |text: &str| {
            settings(&format!("{CONTACT}{text}"))
                .report_signers()
                .unwrap()
                .len()
        };
        let entry = |domain: &str, more: &str| {
            format!(
                "[[dkim]]\ndomain = \"{domain}\"\nselector = \"s1\"\nprivate-key = \"{key}\"\n{more}"
            )
        };
        let own =
            format!("reporting.dkim-selector = \"s\"\nreporting.dkim-private-key = \"{key}\"\n");
        for (text, keys) in [
            (String::new(), 0),
            (own.clone(), 1),
            (format!("{own}reporting.dkim-domain = \"Org.test\""), 1),
            (entry("org.test", ""), 1),
            // Its own comes first.
            (format!("{own}{}", entry("org.test", "")), 1),
            (entry("other.test", ""), 0),
            (entry("org.test", "by = \"sender\""), 0),
        ] {
            assert_eq!((warned(&text), signers(&text)), (keys == 0, keys), "{text}");
        }
    }

    #[test]
    fn b4_13_what_is_particular_to_reports_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        std::fs::write(&file, ED25519).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "{CONTACT}[[dkim]]\ndomain = \"org.test\"\nselector = \"s1\"\nprivate-key = \"{}\"\n\
             signed-headers = [\"Sender\"]",
            file.display()
        );
        let message = b"From: tls@org.test\r\nTLS-Report-Domain: d.test\r\nTLS-Report-Submitter: org.test\r\n\r\n";
        let (fields, _) = mail_types::header_fields(message);
        let signers = settings(&text).report_signers().unwrap();
        let pending = signers[0].begin(&fields, mail_types::Timestamp::from_secs(1));
        let field = pending.finish(dkim::BodyHash::new().finish()).unwrap();
        for name in ["TLS-Report-Domain", "TLS-Report-Submitter"] {
            assert!(field.contains(name), "{field}");
        }
    }
}
