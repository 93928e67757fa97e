//! Who may log in, and what each identity may do: the rest of `access`, and `[[identity]]`.

use super::{GIB, KIB, Key, Kind};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "access.users-file",
        Kind::Path,
        "Users who may log in, on submission listeners and on relay listeners with TLS. Only \
         `sealpost user` writes it: a line has a name, an Argon2id hash and the keys of \
         SCRAM-SHA-256, no password. It must not be open to everybody, and is read again by a \
         reload.",
    )
    .example("\"/etc/sealpost/users\""),
    Key::new(
        "access.auth-login",
        Kind::Bool,
        "Offers the mechanism LOGIN too, for old clients that know nothing else. Like all \
         mechanisms it is offered inside TLS only.",
    )
    .default("false"),
    Key::new(
        "access.sender-addresses",
        Kind::Choice(&["any", "own"], &[]),
        "As whom those may send who log in and have no senders in an [[identity]]: as anybody, or \
         (\"own\") as the address that is their name, and nobody if their name is no address.",
    )
    .default("\"any\""),
    Key::new(
        "access.messages-per-identity",
        Kind::WordOr("unlimited", &Kind::Rate),
        "How many messages each identity may begin in a time, whether or not it ends them; further \
         ones are answered 450 4.7.1. An [[identity]] may have a rate of its own.",
    )
    .default("\"unlimited\""),
    Key::new(
        "access.recipients-per-identity",
        Kind::WordOr("unlimited", &Kind::Rate),
        "The same for recipients.",
    )
    .default("\"unlimited\""),
    Key::new(
        "access.dangerous-open-relay",
        Kind::Bool,
        "Lets access.relay-networks have everybody in it (0.0.0.0/0 or ::/0). Only for a network \
         that strangers cannot reach: an open relay is found within hours.",
    )
    .default("false"),
    Key::new(
        "identity.name",
        Kind::Text,
        "Whose rules these are: a user of access.users-file (names are compared after SASLprep, RFC \
         4013), or a name for the client certificates below. It is not needed for users without rules \
         of their own. check-config warns of an identity that is neither.",
    )
    .example("\"crm@example.org\""),
    Key::new(
        "identity.certificates",
        Kind::List(&Kind::CertificateMatch),
        "Client certificates that belong to this identity: by fingerprint, or by a name in the \
         certificate. Whoever shows one may send mail without a password. A certificate counts only \
         if it is valid under the listener's authorities.",
    )
    .default("[]")
    .example("[\"sha256:4f2b…\", \"dns:crm.example.org\", \"email:crm@example.org\"]"),
    Key::new(
        "identity.senders",
        Kind::List(&Kind::SenderMatch),
        "As whom it may send (550 5.7.1 otherwise). Unset, access.sender-addresses decides; the \
         null sender of notifications is always allowed. It is the envelope that counts, and From \
         where a [[dkim]] key signs: what names somebody there for whom the key speaks and who is \
         not among these is refused as well.",
    )
    .default("[]")
    .example("[\"crm@example.org\", \"news.example.org\", \"*.shop.example.org\"]"),
    Key::new(
        "identity.messages",
        Kind::WordOr("unlimited", &Kind::Rate),
        "How many messages it may send in a time, instead of access.messages-per-identity.",
    )
    .example("\"1000/1h\""),
    Key::new(
        "identity.recipients",
        Kind::WordOr("unlimited", &Kind::Rate),
        "How many recipients it may name in a time, instead of access.recipients-per-identity.",
    )
    .example("\"5000/1h\""),
    Key::new(
        "identity.max-message-size",
        Kind::Size(64 * KIB, 2 * GIB),
        "The largest message that it may send, where that is less than listener.max-message-size (552 \
         5.3.4 otherwise). EHLO announces it once the client has logged in.",
    )
    .example("\"5MiB\""),
    Key::new(
        "identity.scram-only",
        Kind::Bool,
        "Refuses PLAIN and LOGIN for this user (534 5.7.9), so that its password is never sent.",
    )
    .default("false"),
    Key::new(
        "identity.names-submitters",
        Kind::Bool,
        "Believes this client when it says with AUTH= in MAIL who submitted a message (RFC 4954 \
         section 5): another mail server of yours. From all others it becomes <>.",
    )
    .default("false"),
];
