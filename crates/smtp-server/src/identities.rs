//! What each identity may do, and how much of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail_types::{SenderPattern, Senders};
use parking_lot::Mutex;
use smtp_proto::server::{Cause, ClientCertificate, Identity, Refusal};
use tokio::time::Instant;

use crate::VerifiedCertificate;

/// The rules of all identities, by name.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// Of those that have rules of their own.
    pub named: HashMap<Box<str>, IdentityRules>,
    /// Of all others.
    pub others: IdentityRules,
    /// Whose a client certificate is, by its SHA-256.
    pub fingerprints: HashMap<[u8; 32], Box<str>>,
    /// By a DNS name in it, in lower case.
    pub dns_names: HashMap<Box<str>, Box<str>>,
    /// By a mail address in it, its domain in lower case (RFC 5280 section 7.5).
    pub mailboxes: HashMap<Box<str>, Box<str>>,
    /// Those without senders of their own may send as the address that is their name only.
    pub own_address: bool,
}

/// The rules of one identity.
#[derive(Clone, Debug, Default)]
pub struct IdentityRules {
    /// As whom it may send; `None`: see [`Identities::own_address`].
    pub senders: Option<Senders>,
    /// Its word on who submitted a message is passed on (RFC 4954 section 5).
    pub names_submitters: bool,
    /// PLAIN and LOGIN are refused with 534.
    pub scram_only: bool,
    /// How many messages it may begin.
    pub messages: Option<AllowedRate>,
    /// How many recipients it may name.
    pub recipients: Option<AllowedRate>,
    /// Octets of a message at most; `None`: the listener's limit alone.
    pub max_message_size: Option<u64>,
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedRate {
    /// At least 1.
    pub count: u32,
    /// The time.
    pub period: Duration,
}

impl Identities {
    pub(crate) fn rules(&self, name: &str) -> &IdentityRules {
        self.named.get(name).unwrap_or(&self.others)
    }

    /// Whose certificate this is (rows G2-10, G1-09): it has been verified, or there is none.
    pub(crate) fn of_certificate(
        &self,
        certificate: Option<&VerifiedCertificate>,
    ) -> ClientCertificate {
        let Some(certificate) = certificate else {
            return ClientCertificate::None;
        };
        let by_dns = |name: &str| self.dns_names.get(&*name.to_ascii_lowercase());
        let by_mailbox = |mailbox: &str| {
            let (local, domain) = mailbox.rsplit_once('@')?;
            let mailbox = format!("{local}@{}", domain.to_ascii_lowercase());
            self.mailboxes.get(&*mailbox)
        };
        let by_fingerprint = self.fingerprints.get(&certificate.fingerprint);
        let found = by_fingerprint
            .or_else(|| certificate.dns_names.iter().find_map(|name| by_dns(name)))
            .or_else(|| {
                let mut mailboxes = certificate.mailboxes.iter();
                mailboxes.find_map(|mailbox| by_mailbox(mailbox))
            });
        match found {
            Some(name) => ClientCertificate::Of(self.identity(name.clone())),
            None => ClientCertificate::Unknown,
        }
    }

    /// The identity of this name.
    pub(crate) fn identity(&self, name: Box<str>) -> Identity {
        let rules = self.rules(&name);
        let senders = match &rules.senders {
            Some(senders) => senders.clone(),
            None if self.own_address => {
                let own = SenderPattern::parse(&name).ok();
                let own = own.filter(|own| matches!(own, SenderPattern::Mailbox(_)));
                Senders::Only(own.into_iter().collect())
            }
            None => Senders::Any,
        };
        Identity {
            senders,
            max_message_size: rules.max_message_size,
            names_submitters: rules.names_submitters,
            name,
        }
    }
}

/// What identities have used of their rates. One entry for each that has a rate and used it lately:
/// bounded by the number of users.
#[derive(Debug, Default)]
pub(crate) struct Used {
    messages: Meter,
    recipients: Meter,
}

#[derive(Debug, Default)]
struct Meter(Mutex<HashMap<Box<str>, Window>>);

/// What was used since a point in time.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    /// How long it lasts: identities have periods of their own.
    period: Duration,
    used: u32,
}

impl Window {
    const fn begin(since: Instant, period: Duration) -> Self {
        Self {
            since,
            period,
            used: 0,
        }
    }

    fn passed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.passed(now) >= self.period
    }
}

impl Used {
    /// At `MAIL` (row G3-09).
    pub(crate) fn message(&self, identities: &Arc<Identities>, name: &str) -> Result<(), Refusal> {
        let rate = identities.rules(name).messages;
        self.messages.take(rate, name, "messages")
    }

    /// At `RCPT`.
    pub(crate) fn recipient(
        &self,
        identities: &Arc<Identities>,
        name: &str,
    ) -> Result<(), Refusal> {
        let rate = identities.rules(name).recipients;
        self.recipients.take(rate, name, "recipients")
    }
}

impl Meter {
    fn take(&self, rate: Option<AllowedRate>, name: &str, what: &str) -> Result<(), Refusal> {
        let Some(rate) = rate else {
            return Ok(());
        };
        let now = Instant::now();
        let mut windows = self.0.lock();
        if !windows.contains_key(name) && windows.len() >= SWEEP_AT {
            // Users come and go: what says nothing any more is dropped now and then.
            windows.retain(|_, window| !window.is_over(now));
        }
        let begin = || Window::begin(now, rate.period);
        let window = match windows.get_mut(name) {
            Some(window) => window,
            None => windows.entry(name.into()).or_insert_with(begin),
        };
        // A reload may have changed it.
        window.period = rate.period;
        if window.is_over(now) {
            *window = begin();
        }
        if window.used >= rate.count {
            let left = rate.period.saturating_sub(window.passed(now)).as_secs() + 1;
            let text = format!(
                "{name} has sent {} {what} in {} s, which is the limit; again in {left} s",
                rate.count,
                rate.period.as_secs(),
            );
            return Err(Refusal::transient(450, 7, 1, text).because(Cause::Limit));
        }
        window.used += 1;
        Ok(())
    }
}

const SWEEP_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(messages: Option<u32>) -> IdentityRules {
        IdentityRules {
            messages: messages.map(|count| AllowedRate {
                count,
                period: Duration::from_secs(60),
            }),
            ..IdentityRules::default()
        }
    }

    #[test]
    fn g2_10_a_certificate_by_fingerprint_or_name() {
        let identities = Identities {
            fingerprints: [([7; 32], "print".into())].into(),
            dns_names: [("crm.org.test".into(), "crm".into())].into(),
            mailboxes: [("ann@org.test".into(), "ann".into())].into(),
            ..Identities::default()
        };
        for (fingerprint, dns, mailbox, want) in [
            (7, "x.test", "", Some("print")),
            (1, "CRM.org.test", "", Some("crm")),
            (1, "x.test", "ann@org.test", Some("ann")),
            (1, "x.test", "ann@ORG.Test", Some("ann")),
            (1, "x.test", "Ann@org.test", None),
            (1, "org.test", "bob@org.test", None),
        ] {
            let certificate = VerifiedCertificate {
                dns_names: vec![dns.into()],
                mailboxes: vec![mailbox.into()],
                fingerprint: [fingerprint; 32],
            };
            let found = match identities.of_certificate(Some(&certificate)) {
                ClientCertificate::Of(identity) => Some(identity.name),
                ClientCertificate::Unknown => None,
                ClientCertificate::None => panic!("there is one"),
            };
            assert_eq!(found.as_deref(), want, "{certificate:?}");
        }
        assert_eq!(identities.of_certificate(None), ClientCertificate::None);
    }

    #[test]
    fn g3_07_own_addresses() {
        let from = |text: &str| mail_types::ReversePath::Mailbox(text.parse().unwrap());
        for (own_address, name, sender, want) in [
            (false, "ann", "x@y.test", true),
            (true, "ann", "ann@y.test", false),
            (true, "ann@y.test", "ann@y.test", true),
            (true, "ann@y.test", "bob@y.test", false),
            (true, "y.test", "ann@y.test", false),
        ] {
            let identities = Identities {
                own_address,
                ..Identities::default()
            };
            let senders = identities.identity(name.into()).senders;
            assert_eq!(senders.include(&from(sender)), want, "{name} {sender}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn g3_09_a_rate_holds_for_one_identity_and_one_period() {
        let identities = Arc::new(Identities {
            named: [
                ("ann".into(), rules(Some(10))),
                ("free".into(), rules(None)),
            ]
            .into(),
            others: rules(Some(2)),
            ..Identities::default()
        });
        let used = Used::default();
        let take = |name: &str| used.message(&identities, name).map_err(|r| r.to_string());
        for _ in 0..10 {
            assert_eq!(take("ann"), Ok(()));
        }
        let refused = take("ann").unwrap_err();
        assert!(
            refused.starts_with("450 4.7.1 ann has sent 10 messages in 60 s"),
            "{refused}"
        );
        assert_eq!(take("bob"), Ok(()), "another identity is not affected");
        assert_eq!(take("bob"), Ok(()));
        assert!(take("bob").is_err());
        for _ in 0..1000 {
            assert_eq!(take("free"), Ok(()));
        }
        assert!(
            used.recipient(&identities, "ann").is_ok(),
            "a rate of its own"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(take("ann"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn g3_09_who_sends_often_ends_nobody_elses_period() {
        let rate = |count, secs| IdentityRules {
            messages: Some(AllowedRate {
                count,
                period: Duration::from_secs(secs),
            }),
            ..IdentityRules::default()
        };
        let identities = Arc::new(Identities {
            named: [("daily".into(), rate(1, 86_400))].into(),
            others: rate(1, 60),
            ..Identities::default()
        });
        let used = Used::default();
        let take = |name: &str| used.message(&identities, name).map_err(|r| r.to_string());
        assert_eq!(take("daily"), Ok(()));
        for n in 1..SWEEP_AT {
            assert_eq!(take(&n.to_string()), Ok(()));
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(take("new"), Ok(()), "the one who has others forgotten");
        assert_eq!(
            used.messages.0.lock().len(),
            2,
            "those whose minute is over"
        );
        assert!(take("daily").is_err(), "its day is not");
    }
}
