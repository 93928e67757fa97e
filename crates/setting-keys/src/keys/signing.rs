//! `[[dkim]]`, and what a submission listener does to a message.

use super::{DAY, Key, Kind, MINUTE};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "listener.require-from",
        Kind::Bool,
        "On a submission listener: refuses messages without exactly one From field that has an \
         address in it (550 5.6.0). Many receivers refuse such mail anyway.",
    )
    .default("false"),
    Key::new(
        "listener.add-sender",
        Kind::Bool,
        "On a submission listener: names the user who logged in as Sender, unless From is that \
         user's address. A user name without a domain gets server.hostname as its domain.",
    )
    .default("false"),
    Key::new(
        "listener.hide-client",
        Kind::Bool,
        "On a submission listener: leaves the client's name and address out of Received.",
    )
    .default("false"),
    Key::new(
        "listener.show-user",
        Kind::Bool,
        "On a submission listener: writes the name of the user who logged in into Received.",
    )
    .default("false"),
    Key::new(
        "dkim.domain",
        Kind::Domain,
        "Mail from this domain gets a DKIM signature of it. Several entries that match all sign, so \
         that an RSA and an Ed25519 key can stand beside each other.",
    )
    .example("\"example.org\""),
    Key::new(
        "dkim.selector",
        Kind::Text,
        "Under which name the public key is published: selector._domainkey.domain. `sealpost dkim \
         keygen` makes a key and prints the record.",
    )
    .example("\"s2026\""),
    Key::new(
        "dkim.private-key",
        Kind::Path,
        "The private key in PEM: RSA of 2048 to 4096 bits, or Ed25519; readable by the server alone. \
         It is read again at each reload; if it cannot be, the server goes on signing with the \
         keys that it has.",
    )
    .example("\"/etc/sealpost/dkim/s2026.pem\""),
    Key::new(
        "dkim.algorithm",
        Kind::Choice(&["rsa-sha256", "ed25519-sha256"], &[]),
        "What the key is expected to sign with; unset, the key decides. rsa-sha1 must not be used \
         any more (RFC 8301).",
    )
    .example("\"rsa-sha256\""),
    Key::new(
        "dkim.by",
        Kind::Choice(&["from", "sender"], &[]),
        "Whose domain decides: that of the address in From, as DMARC looks at it, or that of the \
         envelope sender.",
    )
    .default("\"from\""),
    Key::new(
        "dkim.subdomains",
        Kind::Bool,
        "Signs for the names below the domain too.",
    )
    .default("false"),
    Key::new(
        "dkim.networks",
        Kind::List(&Kind::Network),
        "Mail of submission listeners is signed. On relay listeners only the mail of clients in \
         these networks is; nothing else of it changes.",
    )
    .default("[]"),
    Key::new(
        "dkim.expires",
        Kind::WordOr("never", &Kind::Duration(60 * MINUTE, 365 * DAY)),
        "How long a signature counts (x=). It should be longer than queue.lifetime.",
    )
    .default("\"never\""),
    Key::new(
        "dkim.signed-headers",
        Kind::List(&Kind::Text),
        "Header fields that are signed where they stand.",
    )
    .default(SIGNED),
    Key::new(
        "dkim.oversigned-headers",
        Kind::List(&Kind::Text),
        "Header fields that are signed as often as they stand and once more, so that nobody can add \
         another one without breaking the signature. From always is among them.",
    )
    .default(OVERSIGNED),
];

/// [`dkim::SIGNED_BY_DEFAULT`], as a test holds.
const SIGNED: &str = "[\"Sender\", \"Resent-From\", \"Resent-Sender\", \"Resent-To\", \"Resent-Cc\", \
\"Resent-Date\", \"Resent-Message-ID\", \"List-Id\", \"List-Help\", \"List-Unsubscribe\", \
\"List-Unsubscribe-Post\", \"List-Subscribe\", \"List-Post\", \"List-Owner\", \"List-Archive\", \
\"Auto-Submitted\"]";
/// [`dkim::OVERSIGNED_BY_DEFAULT`].
const OVERSIGNED: &str = "[\"From\", \"To\", \"Cc\", \"Subject\", \"Date\", \"Message-ID\", \
\"Reply-To\", \"In-Reply-To\", \"References\", \"MIME-Version\", \"Content-Type\", \
\"Content-Transfer-Encoding\"]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_those_of_the_signer() {
        let list = |toml: &str| -> Vec<String> {
            let inner = toml.trim_matches(['[', ']']);
            inner
                .split(", ")
                .map(|n| n.trim_matches('"').to_owned())
                .collect()
        };
        assert_eq!(list(SIGNED), dkim::SIGNED_BY_DEFAULT);
        assert_eq!(list(OVERSIGNED), dkim::OVERSIGNED_BY_DEFAULT);
    }
}
