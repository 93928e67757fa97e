//! DKIM keys as the configuration names them, and what is signed with them besides mail that
//! comes in: our own notifications.

use std::sync::Arc;

use arc_swap::ArcSwap;
use delivery::Seal;
use dkim::{BodyHash, SignError};
use mail_types::{Domain, Timestamp, header_fields};
use parking_lot::Mutex;
use settings::{DkimBy, Settings};
use submission::{SignedBy, SigningRule, SigningRules};

/// The keys in force; a reload replaces them all or none.
pub(crate) type Signing = Arc<ArcSwap<SigningRules>>;

/// No keys: for what only looks.
pub(crate) fn none() -> Signing {
    Arc::new(ArcSwap::from_pointee(SigningRules::default()))
}

/// Reads every key.
///
/// # Errors
/// The first that cannot be used, with its file's name.
pub(crate) fn load(s: &Settings) -> Result<SigningRules, String> {
    let rules = s.dkim.iter().map(|dkim| {
        let signer = dkim.signer();
        Ok(SigningRule {
            signer: signer.map_err(|e| format!("dkim {} {}: {e}", dkim.selector, dkim.domain))?,
            by: match dkim.by {
                DkimBy::From => SignedBy::From,
                DkimBy::Sender => SignedBy::Sender,
            },
            subdomains: dkim.subdomains,
            networks: dkim.networks.clone(),
        })
    });
    Ok(SigningRules::new(rules.collect::<Result<_, String>>()?))
}

/// Signs notifications, which are from a mailbox in `domain`. Without a key for that domain they go
/// unsigned, and if there are keys for others that is said once for each set of keys (row F4-09).
pub(crate) fn seal(signing: &Signing, domain: &Domain) -> Seal {
    let (signing, domain) = (Arc::clone(signing), domain.clone());
    let told: Mutex<Option<Arc<SigningRules>>> = Mutex::default();
    Seal::new(move |message, now| {
        let rules = signing.load_full();
        if !rules.is_empty() && rules.of_our_own(&domain).next().is_none() {
            let mut told = told.lock();
            if !told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &rules)) {
                *told = Some(rules);
                tracing::warn!(%domain, "notifications go without a DKIM signature: no [[dkim]] key is for their domain, that of server.hostname");
            }
            return message;
        }
        match signed(&rules, &domain, &message, now) {
            Ok(signed) => signed,
            Err(error) => {
                // Only for lack of memory; better unsigned than no word of what became of the mail.
                tracing::error!(%error, %domain, "a notification goes without its DKIM signature");
                message
            }
        }
    })
}

fn signed(
    rules: &SigningRules,
    domain: &Domain,
    message: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, SignError> {
    let (fields, rest) = header_fields(message);
    let mut signed = Vec::new();
    for signer in rules.of_our_own(domain) {
        let mut hash = BodyHash::new();
        hash.update(rest.strip_prefix(b"\r\n").unwrap_or(rest));
        let field = signer.begin(&fields, now).finish(hash.finish())?;
        signed.extend_from_slice(field.as_bytes());
    }
    signed.extend_from_slice(message);
    Ok(signed)
}
