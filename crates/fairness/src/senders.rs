//! Who sends: a small number for each.

use mail_types::{Host, Mailbox};

/// A number for a reverse-path, equal for those that listings by sender call the same; two
/// senders seldom share one. The null reverse-path has no mailbox, and [`NOBODY`]'s number is no other's.
#[must_use]
pub fn sender_number(sender: Option<&Mailbox>) -> u16 {
    let Some(mailbox) = sender else {
        return NOBODY;
    };
    let hash = fnv(FNV_BASIS, mailbox.local_part());
    let hash = match mailbox.host() {
        Host::Domain(domain) => fnv(hash, domain.as_str()),
        Host::Address(address) => fnv(hash, &address.to_string()),
    };
    (((hash >> 16) ^ hash) as u16).max(NOBODY + 1)
}

/// FNV-1a, to be folded: no keyed hash is needed where a collision only shares a turn.
fn fnv(basis: u32, text: &str) -> u32 {
    text.bytes().fold(basis, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    })
}

const FNV_BASIS: u32 = 0x811c_9dc5;

/// The null reverse-path's number.
pub const NOBODY: u16 = 0;
