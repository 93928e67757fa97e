//! `server`, `[[listener]]`, `access`, `dns`, `tls`, `egress`.

use super::{GIB, HOUR, KIB, Key, Kind, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "server.hostname",
        Kind::Domain,
        "The name of this server: in EHLO, in Received and as Reporting-MTA. It must be fully \
         qualified and should resolve to the address that mail is sent from, since many servers \
         refuse mail otherwise. Unset, the system's own name is used (`hostname -f`).",
    )
    .example("\"relay.example.org\""),
    Key::new(
        "server.data-dir",
        Kind::Path,
        "Where queue, message bodies and policies are kept. Only one process may use it; it is \
         made with mode 0700. Put it on a local file system that honours fsync.",
    )
    .default("\"/var/lib/sealpost\""),
    Key::new(
        "server.postmaster",
        Kind::Mailbox,
        "Where mail for postmaster of this server is sent, which every server must accept \
         (RFC 5321 section 4.5.1): <postmaster>, postmaster@ and MAILER-DAEMON@ with `server.hostname` \
         behind it. Anybody may write there.",
    )
    .example("\"postmaster@example.org\""),
    Key::new(
        "server.own-addresses",
        Kind::List(&Kind::Address),
        "Addresses that lead back to this server though no listener has them: the outside of a \
         NAT, or a mail exchanger in front. Mail is never sent to them.",
    )
    .default("[]"),
    Key::new(
        "server.drain-timeout",
        Kind::Duration(0, HOUR),
        "How long deliveries that are past DATA may take to finish when the server is stopped.",
    )
    .default("\"30s\""),
    Key::new(
        "listener.name",
        Kind::Text,
        "A name for the log; each listener has its own.",
    )
    .example("\"relay\""),
    Key::new(
        "listener.address",
        Kind::List(&Kind::Socket),
        "Addresses and ports to listen on.",
    )
    .example("[\"127.0.0.1:2525\", \"[::1]:2525\"]"),
    Key::new(
        "listener.role",
        Kind::Choice(&["relay", "submission"], &[]),
        "\"relay\" takes mail of other servers, from access.relay-networks and from whoever logs in; \
         \"submission\" takes mail of users and applications, who all have to log in (RFC 6409: port 587 \
         with STARTTLS, 465 with tls = \"implicit\").",
    )
    .default("\"relay\""),
    Key::new(
        "listener.tls",
        Kind::Choice(&["off", "optional", "required", "implicit"], &[]),
        "Whether clients may use STARTTLS (\"optional\"), must (\"required\"), or speak TLS from the \
         first byte (\"implicit\"). All but \"off\" need certificate and private-key. Unset, it is \
         \"required\" on a submission listener.",
    )
    .default("\"off\""),
    Key::new(
        "listener.certificate",
        Kind::Path,
        "The certificate chain in PEM, the server's own certificate first.",
    )
    .example("\"/etc/sealpost/relay.pem\""),
    Key::new(
        "listener.private-key",
        Kind::Path,
        "The private key of the certificate in PEM, readable by the server alone.",
    )
    .example("\"/etc/sealpost/relay.key\""),
    Key::new(
        "listener.max-message-size",
        Kind::Size(KIB, 2 * GIB),
        "The largest message that is accepted, announced as SIZE (RFC 5321 section 4.5.3.1.7 asks for at \
         least 64 KiB).",
    )
    .default("\"50MiB\""),
    Key::new(
        "listener.max-recipients",
        Kind::Count(1, 100_000),
        "The most recipients of one message; further ones are answered 452 (RFC 5321 section \
         4.5.3.1.8 asks for at least 100).",
    )
    .default("1000"),
    Key::new(
        "listener.bare-newline",
        Kind::Choice(&["reject", "normalize"], &[]),
        "What happens to a CR or LF that stands alone in a message. \"reject\" answers 550 5.5.2, \
         which keeps message smuggling out; \"normalize\" turns it into a space, for a server in \
         front that has already accepted the mail.",
    )
    .default("\"reject\""),
    Key::new(
        "listener.idle-timeout",
        Kind::Duration(SECOND / 10, HOUR),
        "How long the server waits for a client's next command or block of data before it answers \
         421 (RFC 5321 section 4.5.3.2.7 asks for at least 5 minutes).",
    )
    .default("\"5m\""),
    Key::new(
        "listener.dsn",
        Kind::Bool,
        "Whether clients may ask for notifications (RFC 3461). Without it EHLO does not offer DSN, and \
         its parameters are refused with 555.",
    )
    .default("true"),
    Key::new(
        "listener.closed",
        Kind::Text,
        "For maintenance: every client is greeted with 554 and this text, and every command but QUIT \
         is answered 503. Servers keep their mail and come again later; deliveries go on. A reload \
         closes and opens; connections that are there go on.",
    )
    .example("\"moving to another machine until noon\""),
    Key::new(
        "access.relay-networks",
        Kind::List(&Kind::Network),
        "Who may send mail to anywhere without a login, through relay listeners. Everybody (0.0.0.0/0 \
         or ::/0) is refused: that is an open relay.",
    )
    .default("[\"127.0.0.0/8\", \"::1/128\"]"),
    Key::new(
        "access.requiretls-networks",
        Kind::List(&Kind::Network),
        "Clients whose mail is treated as if they had said REQUIRETLS (RFC 8689 section 4.3): it \
         travels over verified TLS to servers that promise the same, or comes back.",
    )
    .default("[]"),
    Key::new(
        "access.requiretls-senders",
        Kind::List(&Kind::Domain),
        "The same by the domain of the envelope sender.",
    )
    .default("[]"),
    Key::new(
        "access.xforward-hosts",
        Kind::List(&Kind::Network),
        "Who may say with XFORWARD which client and queue id a message had before: your own Postfix.",
    )
    .default("[]"),
    Key::new(
        "access.connections",
        Kind::Count(1, 100_000),
        "Inbound connections at the same time; further ones are answered 421.",
    )
    .default("1000"),
    Key::new(
        "access.connections-per-client",
        Kind::Count(1, 100_000),
        "Inbound connections of one address at the same time; further ones are answered 421.",
    )
    .default("50"),
    Key::new(
        "dns.servers",
        Kind::List(&Kind::DnsServer),
        "The resolvers to ask: [\"system\"] takes those of /etc/resolv.conf, which is read again every minute and by a \
         reload.",
    )
    .default("[\"system\"]"),
    Key::new(
        "dns.dnssec",
        Kind::Choice(&["validate", "trust-ad", "off"], &[]),
        "Who validates DNS answers, which DANE needs and MTA-STS does not. \"validate\": this server, \
         from the trust anchors down; the resolvers in dns.servers need not validate, but must pass \
         signatures on. \"trust-ad\": the resolvers, which must then be on loopback; their AD bit is \
         believed. \"off\": nobody, and there is no DANE. Where no signatures arrive, the server says \
         so and runs without DANE, unless they ever did: then their loss is a fault, and mail waits.",
    )
    .default("\"validate\""),
    Key::new(
        "dns.trust-anchors",
        Kind::List(&Kind::Path),
        "Files of DNSKEY records, as `dig DNSKEY` prints them, to trust instead of the root's, whose \
         keys are built in. For names outside of their zones nothing is validated.",
    )
    .default("[]"),
    Key::new(
        "dns.timeout",
        Kind::Duration(SECOND / 10, 10 * SECOND),
        "How long one resolver may take for one query before the next is asked. A look-up ends after 10 s in all, so \
         that a longer time would have no effect.",
    )
    .default("\"5s\""),
    Key::new(
        "tls.roots",
        Kind::List(&Kind::Choice(&["webpki", "system"], &[])),
        "Whom to trust to certify mail exchangers and policy hosts: Mozilla's list as built into \
         this program (\"webpki\"), the system's trust store (\"system\"), or both.",
    )
    .default("[\"webpki\"]"),
    Key::new(
        "tls.dangerous-extra-roots",
        Kind::List(&Kind::Path),
        "PEM files of further certificate authorities, trusted for every destination in the world. \
         A private authority of one route belongs in that route's roots.",
    )
    .default("[]"),
    Key::new(
        "tls.crls",
        Kind::List(&Kind::Path),
        "Files with certificate revocation lists (PEM or DER) that something else keeps fresh; they \
         are read at the start and at each reload. A mail exchanger whose certificate is revoked is \
         refused wherever a valid certificate is asked for. Lists are never fetched.",
    )
    .default("[]"),
    Key::new(
        "tls.crl-failure",
        Kind::Choice(&["soft", "hard"], &[]),
        "What a list that is missing, cannot be read or is out of date means: the certificate passes \
         and the log says so (\"soft\"), or it is refused (\"hard\"). With \"hard\" every issuer in \
         a chain needs a list of its own, so that it fits only where all destinations are known.",
    )
    .default("\"soft\""),
    Key::new(
        "egress.allow-special-use",
        Kind::List(&Kind::Network),
        "Private and other special-use networks that mail exchangers and policy hosts may resolve \
         to. Without it nobody can make this server talk to your inner network by a DNS record. \
         Explicit routes need no permission.",
    )
    .default("[]"),
    Key::new(
        "egress.source-addresses",
        Kind::List(&Kind::Address),
        "Local addresses to send from; the system chooses where there is none of a family.",
    )
    .default("[]"),
    Key::new(
        "egress.public-addresses",
        Kind::List(&Kind::Address),
        "What the world sees of the source addresses behind a NAT. Port 25 of them counts as this \
         server, as with `server.own-addresses`: mail is never sent there. Leave out an address whose \
         port 25 leads to another mail server.",
    )
    .default("[]"),
];
