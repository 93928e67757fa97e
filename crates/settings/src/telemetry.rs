//! `telemetry.*`: traces of deliveries for a collector.

use std::path::PathBuf;

use super::build::Built;
use super::problem::Problem;
use super::reader::{Places, Reader};

/// `telemetry.otlp.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where traces are sent, with its path; `None` is `"off"`.
    pub endpoint: Option<String>,
    /// Header fields of each request, a line each: they may be secrets.
    pub headers_file: Option<PathBuf>,
    /// Trust anchors for the endpoint, instead of those of `tls.roots`.
    pub ca_file: Option<PathBuf>,
    /// One message in so many is traced.
    pub sample_one_in: u64,
}

pub(super) fn otlp(r: &mut Reader<'_>) -> Option<Otlp> {
    let s = r.whole();
    let endpoint: Option<String> = r.value_or_word(s, "telemetry.otlp.endpoint")?;
    Some(Otlp {
        endpoint: endpoint.map(with_path),
        headers_file: r.optional(s, "telemetry.otlp.headers-file"),
        ca_file: r.optional(s, "telemetry.otlp.ca-file"),
        sample_one_in: r.value(s, "telemetry.otlp.sample-one-in")?,
    })
}

pub(super) fn check(built: &Built, places: &Places) -> Vec<Problem> {
    let key = "telemetry.otlp.endpoint";
    let Some(endpoint) = &built.settings.otlp.endpoint else {
        return Vec::new();
    };
    let place = places.of(key);
    let Some((is_plain, host)) = parts(endpoint) else {
        let message = format!("\"{endpoint}\" is no address of a collector");
        let remedy =
            "write http://HOST:PORT or https://HOST:PORT, with a path if it is not /v1/traces";
        return vec![Problem::error(place, key, message, remedy)];
    };
    if is_plain && !is_loopback(host) {
        let message = format!(
            "traces go to {host} in plain text: they name domains, mail hosts and what these said"
        );
        return vec![Problem::warning(
            place,
            key,
            message,
            "write https://, or send them to a collector on this machine",
        )];
    }
    Vec::new()
}

/// Without a path it is that of the standard (OTLP/HTTP, "Endpoint URLs").
fn with_path(endpoint: String) -> String {
    match parts(&endpoint) {
        Some((_, host)) if endpoint.trim_end_matches('/').ends_with(host) => {
            format!("{}/v1/traces", endpoint.trim_end_matches('/'))
        }
        Some(_) | None => endpoint,
    }
}

/// Whether it is in plain text; host and port. `None` for what is no such URL: also one with
/// credentials in it, which belong in the file of headers.
fn parts(endpoint: &str) -> Option<(bool, &str)> {
    let (is_plain, rest) = match endpoint.split_once("://")? {
        ("http", rest) => (true, rest),
        ("https", rest) => (false, rest),
        _ => return None,
    };
    let clean = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '#' | '?' | '\\' | '"');
    let host = rest.split('/').next()?;
    let port = host.rsplit_once(':').filter(|(_, p)| !p.ends_with(']'));
    let is_port = |(name, port): (&str, &str)| !name.is_empty() && port.parse::<u16>().is_ok();
    (rest.chars().all(clean) && !host.is_empty() && port.is_none_or(is_port))
        .then_some((is_plain, host))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, wanted) in [
            ("http://127.0.0.1:4318", Some((true, "127.0.0.1:4318"))),
            ("https://otel.test", Some((false, "otel.test"))),
            ("http://[::1]:4318/x", Some((true, "[::1]:4318"))),
            ("https://a.test/v1/traces", Some((false, "a.test"))),
            ("127.0.0.1:4318", None),
            ("ftp://a.test", None),
            ("https://user:password@a.test", None),
            ("https://a.test:port", None),
            ("https://", None),
            ("https://a.test/ x", None),
        ] {
            assert_eq!(parts(text), wanted, "{text}");
        }
        assert_eq!(with_path("http://a:1".into()), "http://a:1/v1/traces");
        assert_eq!(with_path("http://a:1/".into()), "http://a:1/v1/traces");
        assert_eq!(with_path("http://a:1/own".into()), "http://a:1/own");
        assert!(
            is_loopback("[::1]:4318") && is_loopback("localhost:1") && is_loopback("127.9.9.9")
        );
        assert!(!is_loopback("localhost.test") && !is_loopback("192.0.2.1:4318"));
    }
}
