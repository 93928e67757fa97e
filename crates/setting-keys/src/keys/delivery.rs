//! `queue`, `delivery`, `delivery.timeouts`, `policy-cache`.

use super::{DAY, GIB, HOUR, Key, Kind, MIB, MINUTE, SECOND, TIB};

/// Tests set these short, so that the floor is a tenth of a second.
const TIMEOUT: Kind = Kind::Duration(SECOND / 10, HOUR);

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "queue.lifetime",
        Kind::Duration(SECOND, 30 * DAY),
        "How long mail is tried before it goes back to its sender (RFC 5321 section 4.5.4.1 \
         suggests four to five days).",
    )
    .default("\"5d\""),
    Key::new(
        "queue.bounce-lifetime",
        Kind::Duration(SECOND, 30 * DAY),
        "The same for bounces, which nobody waits for.",
    )
    .default("\"2d\""),
    Key::new(
        "queue.delay-warning",
        Kind::WordOr("never", &Kind::Duration(SECOND, 30 * DAY)),
        "After how long the sender is told that a message is late, also at a paused destination; of held mail \
         nobody is told.",
    )
    .default("\"4h\""),
    Key::new(
        "queue.retry",
        Kind::List(&Kind::Duration(SECOND / 10, 7 * DAY)),
        "The delays between attempts; the last repeats. A little jitter is added.",
    )
    .default("[\"5m\", \"15m\", \"30m\", \"1h\", \"2h\", \"4h\"]"),
    Key::new(
        "queue.minimum-free-space",
        Kind::Size(MIB, TIB),
        "With less than this left on the data directory's file system, new mail is answered 452 and \
         stays with its sender.",
    )
    .default("\"256MiB\""),
    Key::new(
        "queue.body-memory",
        Kind::Size(MIB, 16 * GIB),
        "How much memory the bodies of fresh messages may take until their first attempt; beyond \
         it they are read back from disk.",
    )
    .default("\"64MiB\""),
    Key::new(
        "queue.messages-in-memory",
        Kind::Count(1_000, 10_000_000),
        "How many messages may be in memory because the queue's index does not have them yet. With \
         more, new mail waits for its 250 until the index has caught up. While half as many are in \
         memory, fresh mail waits for its turn in the queue instead of being tried at once. A message \
         takes about 1 KiB there, without its body.",
    )
    .default("50000"),
    Key::new(
        "queue.journal-memory",
        Kind::Size(MIB, 16 * GIB),
        "How many octets may wait for the disk; with more, new mail waits for its 250.",
    )
    .default("\"64MiB\""),
    Key::new(
        "queue.hold-at-start",
        Kind::Bool,
        "Whether everything found in the queue at start is held until `sealpost queue release`. For \
         a data directory restored from a backup, whose mail may have been delivered since: look \
         before it is sent again. Mail that comes in afterwards is delivered as usual.",
    )
    .default("false"),
    Key::new(
        "queue.expire-held",
        Kind::Bool,
        "Whether mail that is held, and that of paused destinations, is returned to its sender when \
         its lifetime is over: within ten minutes of that, since such mail is looked through every ten \
         minutes. If not, it waits for as long as it is held.",
    )
    .default("false"),
    Key::new(
        "queue.notifications-per-sender",
        Kind::WordOr("unlimited", &Kind::Rate),
        "Of how many messages one sender is sent delivery status notifications in a time. There is a \
         notification for each destination of a message; they count as one. Failures have this \
         number to themselves; notices of delay and of relaying have as many more, so that they \
         never keep a failure from being told. What is beyond it is not sent but logged as \
         dsn.withheld, and summarised to server.postmaster when that time is over: a forged sender \
         must not be buried in bounces (RFC 5321 section 6.2). The counts are in memory: a crash \
         loses them with the summary, and the log tells what was withheld.",
    )
    .default("\"1000/1d\""),
    Key::new(
        "queue.notifications-in-all",
        Kind::WordOr("unlimited", &Kind::Rate),
        "The same for all senders together: of how many messages there are notifications of failure, \
         and of how many there are others.",
    )
    .default("\"10000/1h\""),
    Key::new(
        "queue.max-returned-size",
        Kind::Size(0, 64 * MIB),
        "A larger message is not returned whole in a notification, even where its sender asked for \
         that (RET=FULL): only its header is.",
    )
    .default("\"1MiB\""),
    Key::new(
        "queue.max-hops",
        Kind::Count(100, 1000),
        "A message with more Received fields than this goes round in circles and is refused \
         (RFC 5321 section 6.3).",
    )
    .default("100"),
    Key::new(
        "delivery.tls",
        Kind::Choice(&["policy", "encrypted", "verified"], &[]),
        "What is asked of a domain that publishes no policy: TLS where offered, plain text as the \
         last resort (\"policy\"), TLS with any certificate (\"encrypted\"), or a valid certificate \
         (\"verified\").",
    )
    .default("\"policy\""),
    Key::new(
        "delivery.dane-satisfies-sts",
        Kind::Bool,
        "Whether a mail exchanger that its TLSA records authenticate meets an enforced MTA-STS policy \
         without a certificate of a public authority. false asks for both, as RFC 8461 section 2 is \
         read here. The policy must list the host in any case.",
    )
    .default("false"),
    Key::new(
        "delivery.dangerous-tls-required-no",
        Kind::Choice(&["never", "authenticated", "all"], &[]),
        "Whose header field `TLS-Required: No` sets MTA-STS and DANE aside (RFC 8689): nobody's, \
         that of logged-in submitters, or everybody's as the RFC has it.",
    )
    .default("\"authenticated\""),
    Key::new(
        "delivery.connections",
        Kind::Count(1, 100_000),
        "Outbound connections at the same time.",
    )
    .default("500"),
    Key::new(
        "delivery.connections-per-destination",
        Kind::Count(1, 10_000),
        "Connections to one recipient domain or route.",
    )
    .default("20"),
    Key::new(
        "delivery.connections-per-host",
        Kind::Count(1, 10_000),
        "Connections to one mail exchanger, since a thousand domains may share one.",
    )
    .default("20"),
    Key::new(
        "delivery.rate-per-host",
        Kind::WordOr("unlimited", &Kind::Rate),
        "How many messages one mail exchanger is given in a time.",
    )
    .default("\"unlimited\""),
    Key::new(
        "delivery.messages-per-connection",
        Kind::Count(1, 100_000),
        "Messages sent over one connection before it is closed.",
    )
    .default("1000"),
    Key::new(
        "delivery.connection-lifetime",
        Kind::Duration(SECOND, HOUR),
        "How long a connection is used for further messages before it is closed.",
    )
    .default("\"5m\""),
    Key::new(
        "delivery.recipients-per-transaction",
        Kind::Count(1, 1000),
        "Recipients named in one transaction; servers must take 100 (RFC 5321 section 4.5.3.1.8).",
    )
    .default("100"),
    Key::new(
        "delivery.max-addresses",
        Kind::Count(2, 100),
        "Addresses tried in one attempt, over all mail exchangers (RFC 5321 section 5.1).",
    )
    .default("10"),
    Key::new(
        "delivery.patience",
        Kind::Duration(SECOND, 5 * DAY),
        "How long mail waits that no host of the destination can take as it is: it needs an \
         extension (8BITMIME, SMTPUTF8, REQUIRETLS) that those which answer do not have while \
         others cannot be reached, or it came with REQUIRETLS and no host has verified TLS. Then \
         it is returned to its sender, and a notification about REQUIRETLS mail goes without \
         REQUIRETLS. Make it less than queue.bounce-lifetime and queue.lifetime.",
    )
    .default("\"1d\""),
    Key::new(
        "delivery.add-orcpt",
        Kind::Bool,
        "Whether a recipient that came without an original address (ORCPT) is passed on with the \
         address under which it came, to hosts that speak DSN (RFC 3461 section 5.2.1).",
    )
    .default("false"),
    Key::new(
        "delivery.timeouts.connect",
        TIMEOUT,
        "A TCP connection to one address.",
    )
    .default("\"30s\""),
    Key::new("delivery.timeouts.banner", TIMEOUT, "The peer's greeting.").default("\"5m\""),
    Key::new("delivery.timeouts.ehlo", TIMEOUT, "The reply to EHLO or HELO.").default("\"5m\""),
    Key::new("delivery.timeouts.starttls", TIMEOUT, "The reply to STARTTLS.").default("\"2m\""),
    Key::new("delivery.timeouts.handshake", TIMEOUT, "The TLS handshake.").default("\"1m\""),
    Key::new("delivery.timeouts.auth", TIMEOUT, "The replies to AUTH.").default("\"2m\""),
    Key::new("delivery.timeouts.mail", TIMEOUT, "The reply to MAIL.").default("\"5m\""),
    Key::new("delivery.timeouts.rcpt", TIMEOUT, "The reply to each RCPT.").default("\"5m\""),
    Key::new(
        "delivery.timeouts.data-init",
        TIMEOUT,
        "The 354 that allows the message to be sent.",
    )
    .default("\"2m\""),
    Key::new(
        "delivery.timeouts.data-block",
        TIMEOUT,
        "Each 64 KiB of the message: the floor under a peer's speed.",
    )
    .default("\"3m\""),
    Key::new(
        "delivery.timeouts.data-done",
        TIMEOUT,
        "The reply to the end of the message. Giving up early here makes duplicates.",
    )
    .default("\"10m\""),
    Key::new(
        "delivery.timeouts.transaction",
        Kind::Duration(SECOND / 10, DAY),
        "All of one transaction, however it trickles.",
    )
    .default("\"4h\""),
    Key::new("delivery.timeouts.rset", TIMEOUT, "The reply to RSET.").default("\"20s\""),
    Key::new("delivery.timeouts.quit", TIMEOUT, "The reply to QUIT.").default("\"10s\""),
    Key::new(
        "delivery.timeouts.idle",
        Kind::Duration(0, 5 * MINUTE),
        "How long an open connection is kept for the next message to the same host.",
    )
    .default("\"5s\""),
    Key::new(
        "policy-cache.refresh-interval",
        Kind::Duration(SECOND, 7 * DAY),
        "How often each stored policy is fetched anew in the background (RFC 8461 section 10.2 \
         wants it daily), up to a quarter earlier. A policy with a short max_age is fetched after half of \
         it, but then no sooner than after ten seconds. After a failure it is five minutes to an hour, however \
         short the interval is.",
    )
    .default("\"1d\""),
    Key::new(
        "policy-cache.fetch-timeout",
        Kind::Duration(SECOND / 10, MINUTE),
        "How long one fetch may take, DNS included (RFC 8461 section 3.3 suggests a minute).",
    )
    .default("\"1m\""),
    Key::new(
        "policy-cache.fetches",
        Kind::Count(1, 1000),
        "Policies fetched at the same time for mail; refreshes in the background have a quarter of that \
         besides.",
    )
    .default("20"),
];
