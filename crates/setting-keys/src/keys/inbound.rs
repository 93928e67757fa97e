//! What protects the listeners: certificates by name, proxies in front, limits on clients.

use super::{GIB, Key, Kind, MIB};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "certificate.server-names",
        Kind::List(&Kind::MxPattern),
        "A further certificate of all listeners with TLS, for clients that ask for one of these \
         names (SNI); \"*.example.org\" stands for every name one label below example.org. Without \
         it the names in the certificate count. Clients that name no server, or another one, get \
         the listener's own certificate.",
    )
    .default("[]"),
    Key::new(
        "certificate.certificate",
        Kind::Path,
        "The certificate chain in PEM, the server's own certificate first. Like all certificates \
         it is read again at each reload.",
    )
    .example("\"/etc/sealpost/mail.example.net.pem\""),
    Key::new(
        "certificate.private-key",
        Kind::Path,
        "Its private key in PEM, readable by the server alone.",
    )
    .example("\"/etc/sealpost/mail.example.net.key\""),
    Key::new(
        "listener.client-ca",
        Kind::Path,
        "Certificate authorities of clients, in PEM. Only if this is set are clients asked for a \
         certificate; one that does not verify ends the connection, and a client without one is \
         served as a stranger. A client's own certificate may stand in the file too, also a \
         self-signed one.",
    )
    .example("\"/etc/sealpost/clients.pem\""),
    Key::new(
        "access.xclient-hosts",
        Kind::List(&Kind::Network),
        "Who may say with XCLIENT which client it speaks for; from then on the session is judged as \
         that client's. Whoever is listed can therefore relay as anybody: a proxy of your own.",
    )
    .default("[]"),
    Key::new(
        "access.proxy-hosts",
        Kind::List(&Kind::Network),
        "Load balancers that begin every connection with a PROXY header (version 1 or 2), which says \
         whom they speak for. A connection of theirs without the header is closed, and so is one \
         with the header from anybody else.",
    )
    .default("[]"),
    Key::new(
        "access.normalize-networks",
        Kind::List(&Kind::Network),
        "Clients from which a bare CR or LF is turned into a space whatever their listener's \
         bare-newline says: old machines that cannot be mended.",
    )
    .default("[]"),
    Key::new(
        "access.dangerous-plaintext-networks",
        Kind::List(&Kind::Network),
        "Clients that need no TLS on a listener with tls = \"required\": machines of your own that \
         cannot do it. Their mail travels readable and changeable up to here.",
    )
    .default("[]"),
    Key::new(
        "access.connection-rate-per-client",
        Kind::WordOr("off", &Kind::Rate),
        "How many connections one address (of IPv6, one /64 network) may open in a time span such \
         as \"120/1m\"; further ones are answered 421 until it is over. Whoever is listed in \
         proxy-hosts is counted by the addresses behind it.",
    )
    .default("\"off\""),
    Key::new(
        "access.messages-per-connection",
        Kind::Count(1, 1_000_000_000),
        "Messages that one connection may bring; then it is answered 421, and the client opens \
         another.",
    )
    .default("100000"),
    Key::new(
        "access.errors-per-connection",
        Kind::Count(3, 10_000),
        "Refused commands after which a connection is closed with 421.",
    )
    .default("50"),
    Key::new(
        "access.min-data-rate",
        Kind::Size(0, MIB),
        "How many bytes of a message have to come each second in the long run; slower clients are \
         answered 421 after data-grace. \"0\" asks for none.",
    )
    .default("\"256B\""),
    Key::new(
        "access.data-grace",
        Kind::Duration(super::SECOND, super::DAY),
        "How long a message may take besides what min-data-rate gives it.",
    )
    .default("\"10m\""),
    Key::new(
        "access.content-memory",
        Kind::Size(8 * MIB, 64 * GIB),
        "Memory for messages that are on their way in, over all connections. When it is used up, \
         further messages are answered 452 until there is room; those that are stored or waiting \
         are not affected. A message takes at most 320 KiB of it, whatever its size.",
    )
    .default("\"128MiB\""),
    Key::new(
        "access.greeting-delay",
        Kind::Duration(0, 10 * super::SECOND),
        "How long clients outside of relay-networks wait for the greeting. Programs that send spam \
         often talk before it; without a delay few of them are noticed. The log calls them \
         early_talker.",
    )
    .default("\"0s\""),
    Key::new(
        "access.refuse-early-talkers",
        Kind::Bool,
        "Greets clients that talk before the greeting with 554 and closes the connection.",
    )
    .default("false"),
    Key::new(
        "access.check-recipient-domains",
        Kind::Bool,
        "Whether a recipient is refused at once if DNS says that its domain does not exist \
         (550 5.1.2) or takes no mail (556 5.1.10, RFC 7505). What DNS cannot say just now, and what \
         MTA-STS or DANE say, never refuses a recipient.",
    )
    .default("false"),
    Key::new(
        "access.check-sender-domains",
        Kind::Bool,
        "Whether mail is refused (550 5.7.27) if the domain of its sender takes no mail (RFC 7505 \
         section 4.1), so that it could not be returned.",
    )
    .default("false"),
];
