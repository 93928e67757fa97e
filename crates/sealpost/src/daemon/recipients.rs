//! What DNS alone says against a sender or recipient, at MAIL and RCPT (rows G5-08, E1-19).
//!
//! Only answers that are definite refuse, and only those that delivery would bounce for: a domain
//! that does not exist, and one that takes no mail. What MTA-STS or DANE say is no ground: that
//! heals, and the mail waits for it in the queue.

use std::sync::Arc;
use std::time::Duration;

use mail_types::{DnsError, Domain, Host, Mailbox, MxRecord, Resolver, ReversePath};
use settings::{Access, DomainMatch, Route};
use smtp_server::Refusal;
use tokio::time::timeout;

/// Asks DNS if the configuration says so.
pub(crate) struct DomainCheck {
    resolver: Arc<dyn Resolver>,
    recipients: bool,
    senders: bool,
    /// Domains of which mail goes to a next hop of its own, whatever DNS says.
    routed: Vec<DomainMatch>,
}

/// What DNS says of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Verdict {
    /// It may take mail, or DNS did not say.
    Unsuspicious,
    /// NXDOMAIN.
    NoSuchDomain,
    /// A null MX (RFC 7505).
    TakesNoMail,
}

impl DomainCheck {
    pub(crate) fn new(access: &Access, routes: &[Route], resolver: Arc<dyn Resolver>) -> Self {
        let pattern = |route: &Route| route.recipient_domain.clone().unwrap_or(DomainMatch::Any);
        Self {
            resolver,
            recipients: access.check_recipient_domains,
            senders: access.check_sender_domains,
            routed: routes.iter().map(pattern).collect(),
        }
    }

    /// Whether mail for this recipient is taken.
    pub(crate) async fn recipient(&self, recipient: &Mailbox) -> Result<(), Refusal> {
        let Host::Domain(domain) = recipient.host() else {
            return Ok(());
        };
        if !self.recipients || self.routed.iter().any(|pattern| covers(pattern, domain)) {
            return Ok(());
        }
        match self.ask(domain).await {
            Verdict::Unsuspicious => Ok(()),
            // RFC 3463: X.1.2 bad destination system address.
            Verdict::NoSuchDomain => Err(Refusal::permanent(
                550,
                1,
                2,
                format!("The domain {domain} does not exist"),
            )),
            // RFC 7505 section 4.1 and 6.
            Verdict::TakesNoMail => Err(Refusal::permanent(
                556,
                1,
                10,
                format!("The domain {domain} takes no mail (null MX)"),
            )),
        }
    }

    /// Whether mail of this sender is taken.
    pub(crate) async fn sender(&self, sender: &ReversePath) -> Result<(), Refusal> {
        let Some(Host::Domain(domain)) = sender.mailbox().map(Mailbox::host) else {
            return Ok(());
        };
        if !self.senders {
            return Ok(());
        }
        match self.ask(domain).await {
            Verdict::Unsuspicious | Verdict::NoSuchDomain => Ok(()),
            // RFC 7505 section 4.1 and 6.
            Verdict::TakesNoMail => Err(Refusal::permanent(
                550,
                7,
                27,
                format!("The sender's domain {domain} takes no mail (null MX)"),
            )),
        }
    }

    async fn ask(&self, domain: &Domain) -> Verdict {
        let Ok(answer) = timeout(PATIENCE, self.resolver.mx(domain)).await else {
            return Verdict::Unsuspicious;
        };
        match answer {
            Err(DnsError::NoSuchName { .. }) => Verdict::NoSuchDomain,
            Err(
                DnsError::NoRecords { .. }
                | DnsError::Temporary(_)
                | DnsError::Bogus(_)
                | DnsError::Local(_),
            ) => Verdict::Unsuspicious,
            Ok(answer) => {
                let null =
                    !answer.value.is_empty() && answer.value.iter().all(|mx| *mx == MxRecord::Null);
                if null {
                    Verdict::TakesNoMail
                } else {
                    Verdict::Unsuspicious
                }
            }
        }
    }
}

fn covers(pattern: &DomainMatch, domain: &Domain) -> bool {
    match pattern {
        DomainMatch::Any => true,
        DomainMatch::Exact(exact) => exact == domain,
        DomainMatch::Below(parent) => domain
            .as_str()
            .strip_suffix(parent.as_str())
            .is_some_and(|front| front.ends_with('.')),
    }
}

/// A client does not wait longer for a look-up than this; what is not known by then is no ground.
const PATIENCE: Duration = Duration::from_secs(10);
