//! What has to hold for any octets that somebody else may send us. Each function panics where it
//! does not; the fuzz targets and the suite `seeds` run the same ones.

mod attributes;
mod command;
mod compose;
mod data;
mod dkim;
mod driver;
mod dsn;
mod policy;
mod proxy;
mod queue;
mod record;
mod reply;
mod reporting;
mod sasl;
mod session;
mod tlsa;
mod users;

/// A target's name, and what it runs.
pub(crate) type Check = (&'static str, fn(&[u8]));

/// All of them, by name.
pub(crate) const ALL: [Check; 16] = [
    ("attributes", attributes::check),
    ("command", command::check),
    ("compose", compose::check),
    ("data", data::check),
    ("dkim", dkim::check),
    ("dsn", dsn::check),
    ("policy", policy::check),
    ("proxy", proxy::check),
    ("queue", queue::check),
    ("record", record::check),
    ("reply", reply::check),
    ("reporting", reporting::check),
    ("sasl", sasl::check),
    ("session", session::check),
    ("tlsa", tlsa::check),
    ("users", users::check),
];

/// No bare CR or LF, so that nobody downstream can see another end of a line or message.
fn whole_lines(octets: &[u8]) {
    for (n, octet) in octets.iter().enumerate() {
        match octet {
            b'\n' => assert!(n > 0 && octets[n - 1] == b'\r', "a bare LF at {n}"),
            b'\r' => assert_eq!(octets.get(n + 1), Some(&b'\n'), "a bare CR at {n}"),
            _ => {}
        }
    }
}

/// The same octets as a session would hand them on: without bare CR and LF.
fn content(input: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(input.len());
    for (n, octet) in input.iter().enumerate() {
        let whole = match octet {
            b'\r' => input.get(n + 1) == Some(&b'\n'),
            b'\n' => n > 0 && input[n - 1] == b'\r',
            _ => true,
        };
        content.push(if whole { *octet } else { b' ' });
    }
    content
}

/// What comes out of `n` numbers and the octets behind them.
fn split_byte(input: &[u8]) -> (u8, &[u8]) {
    input
        .split_first()
        .map_or((0, input), |(b, rest)| (*b, rest))
}
