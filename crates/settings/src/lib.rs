//! The configuration: layers, one table of keys, every problem at once.
//!
//! [`load`] is all of it: the daemon starts with what it returns, `check-config` prints what it
//! finds, a reload compares two of its results. Keys are declared once, in the table that also
//! prints `config/sealpost.toml` and `docs/configuration.md`.

mod build;
mod changes;
mod check;
mod files;
mod hostname;
mod identity;
mod inbound;
mod layers;
mod load;
mod log_filter;
mod mail_loop;
mod nearest;
mod parse;
mod problem;
mod reader;
mod reporting;
mod request_headers;
mod settings;
mod signing;
mod telemetry;
#[cfg(test)]
mod tests;

pub use changes::{Change, Values};
pub use check::dangers;
pub use identity::{CertificateMatch, Identity, Logins, SenderAddresses, SenderMatch};
pub use inbound::{ClientLimits, NamedCertificate};
pub use load::{
    Loaded, Sources, control_socket, has_standard_file, load, users_file, values, visible_values,
};
pub use log_filter::log_filter;
pub use mail_loop::{is_local_address, mail_loop_warning};
pub use problem::{ConfigError, Place, Problem, Severity};
pub use reporting::Reporting;
pub use request_headers::{RequestHeaderError, request_headers};
use setting_keys as keys;
pub use setting_keys::{duration_text, parse_duration, reference, sample};
pub use settings::{
    Access, Admin, BareNewline, Credentials, CrlFailure, Delivery, Dns, DnsServers, Dnssec,
    DomainDane, DomainMatch, DomainMtaSts, DomainRule, Egress, KeyPair, Listener, ListenerRole,
    ListenerTls, Log, LogFormat, PolicyCache, Queue, Rate, Relay, RelayHost, RequiredTls, Route,
    RouteTls, Server, Settings, Timeouts, Tls, TlsRequiredNo,
};
pub use signing::{Dkim, DkimAlgorithm, DkimBy, ListenerContent};
pub use telemetry::Otlp;
