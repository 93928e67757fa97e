//! `reporting`, `admin`, `log`.

use super::{Key, Kind};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "reporting.enabled",
        Kind::Bool,
        "Whether the TLS that mail meets is counted, and reported each day to the domains that ask for \
         it (RFC 8460). Unless this is set it is so exactly if reporting.contact-info is set; true \
         needs that key. See docs/reports.md.",
    )
    .example("true"),
    Key::new(
        "reporting.organization-name",
        Kind::Text,
        "The name of the organisation in its reports. Without it, it is the domain of \
         reporting.contact-info.",
    )
    .example("\"Example Ltd\""),
    Key::new(
        "reporting.contact-info",
        Kind::Mailbox,
        "Whom the receiver of a report may write to, and the sender of reports by mail: a mailbox that \
         somebody reads. Its domain is the one that reports, and signs those by mail.",
    )
    .example("\"tls-reports@example.org\""),
    Key::new(
        "reporting.gzip",
        Kind::Bool,
        "Whether reports are compressed, as RFC 8460 section 5.2 recommends.",
    )
    .default("true"),
    Key::new(
        "reporting.allow-special-use",
        Kind::List(&Kind::Network),
        "Special-use networks that the hosts of reports by HTTPS may resolve to. Who asks for reports \
         chooses the host, so that egress.allow-special-use does not count here.",
    )
    .default("[]"),
    Key::new(
        "reporting.dkim-domain",
        Kind::Domain,
        "The domain that signs reports by mail. It can only be the domain of reporting.contact-info, \
         which it is without this key too: receivers demand a signature of the domain that reports \
         (RFC 8460 sections 3 and 5.3).",
    )
    .example("\"example.org\""),
    Key::new(
        "reporting.dkim-selector",
        Kind::Text,
        "The selector of reporting.dkim-private-key. `sealpost dkim keygen` makes the key and prints \
         the record.",
    )
    .example("\"tlsrpt\""),
    Key::new(
        "reporting.dkim-private-key",
        Kind::Path,
        "The key that signs reports by mail, PEM, mode 0600 or 0640. Without it the keys of [[dkim]] for \
         the domain of reporting.contact-info sign them; if there is none either, no report goes by \
         mail, only by HTTPS.",
    )
    .example("\"/etc/sealpost/dkim/tlsrpt.pem\""),
    Key::new(
        "admin.socket",
        Kind::Path,
        "The socket through which the commands talk to the server. Who may write to it may do \
         everything.",
    )
    .default("\"/run/sealpost/control.sock\""),
    Key::new(
        "admin.http",
        Kind::WordOr("off", &Kind::Socket),
        "Where the web page, the API, /metrics, /healthz and /readyz are served. Without \
         admin.token-file only the last three are. On anything but loopback it needs \
         admin.certificate and admin.private-key.",
    )
    .default("\"127.0.0.1:8025\""),
    Key::new(
        "admin.names",
        Kind::List(&Kind::Host),
        "Names by which HTTP may be addressed, besides the address itself (and localhost, from this \
         machine). A request with another name in Host is refused: a page elsewhere could have made \
         its own name point here.",
    )
    .default("[]"),
    Key::new(
        "admin.token-file",
        Kind::Path,
        "Tokens for the web page and the API over HTTP, one a line: name:role:sha256, where role is \
         read or admin and sha256 is that of the token, in hexadecimal. Mode 0600. Read again on \
         reload: sessions of a removed token end.",
    )
    .example("\"/etc/sealpost/tokens\""),
    Key::new(
        "admin.certificate",
        Kind::Path,
        "The certificate chain for admin.http, PEM, the leaf first: with it HTTP is served over TLS. \
         Read again on reload.",
    )
    .example("\"/etc/sealpost/admin.pem\""),
    Key::new(
        "admin.private-key",
        Kind::Path,
        "The key of admin.certificate.",
    )
    .example("\"/etc/sealpost/admin.key\""),
    Key::new(
        "admin.login-link",
        Kind::Bool,
        "Whether a link is printed to standard error at each start that logs one browser in as \
         administrator, once, within ten minutes. For trying out: whoever reads the output can log \
         in. Only with admin.http on loopback.",
    )
    .default("false"),
    Key::new(
        "admin.dangerous-plain-http",
        Kind::Bool,
        "Whether HTTP may be served without TLS on an address that is not loopback.",
    )
    .default("false"),
    Key::new(
        "log.format",
        Kind::Choice(&["auto", "json", "postfix", "text", "journald"], &[]),
        "How events are written: one JSON object a line, the lines that Postfix would write, text \
         for people, or native fields of the systemd journal. \"auto\" is text on a terminal, \
         \"journald\" where standard output is the journal, and JSON elsewhere.",
    )
    .default("\"auto\""),
    Key::new(
        "log.level",
        Kind::Text,
        "Which diagnostics are written to standard error: error, warn, info, debug or trace, also \
         per part (\"info,smtp_client=debug\"). Events of mail are not touched by it.",
    )
    .default("\"info\""),
    Key::new(
        "log.file",
        Kind::Path,
        "A file for events instead of standard output; it is opened anew on reload.",
    )
    .example("\"/var/log/sealpost/events.log\""),
    Key::new(
        "log.syslog-name",
        Kind::Text,
        "The program name in the postfix format.",
    )
    .default("\"sealpost\""),
    Key::new(
        "telemetry.otlp.endpoint",
        Kind::WordOr("off", &Kind::Text),
        "Where traces of deliveries are sent, by OTLP over HTTP: http://HOST:PORT or \
         https://HOST:PORT; without a path it is /v1/traces. Mail never waits for it: what a slow or \
         absent collector does not take is dropped and counted.",
    )
    .default("\"off\""),
    Key::new(
        "telemetry.otlp.headers-file",
        Kind::Path,
        "Header fields to send with traces, a line each, for instance \"Authorization: Bearer …\". \
         What frames the request (Host, Content-Type and the like) cannot stand there. Mode 0600.",
    )
    .example("\"/etc/sealpost/otlp-headers\""),
    Key::new(
        "telemetry.otlp.ca-file",
        Kind::Path,
        "PEM file of certificate authorities that may vouch for the endpoint, instead of those of \
         tls.roots.",
    )
    .example("\"/etc/sealpost/otlp-ca.pem\""),
    Key::new(
        "telemetry.otlp.sample-one-in",
        Kind::Count(1, 1_000_000),
        "One message in so many is traced, with all of its attempts; 1 traces every message.",
    )
    .default("1"),
];
