//! XCLIENT: a trusted proxy names the client that it speaks for (Postfix, `XCLIENT_README`).
//!
//! `XCLIENT 1*( SP name "=" value )`, values in xtext, `[UNAVAILABLE]` and `[TEMPUNAVAIL]` (any
//! case) for what is not known. The session then begins anew, as that client's.

use mail_types::harmless;
use std::net::IpAddr;

use super::names::prepared_name;
use super::xforward::{address, decode, port};

/// What one XCLIENT command said. No control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedClient {
    /// `ADDR`; IPv4 never in IPv6-mapped form.
    pub address: Claimed<IpAddr>,
    /// `PORT`.
    pub port: Option<u16>,
    /// `HELO`: what the client called itself.
    pub helo: Claimed<Box<str>>,
    /// `PROTO` was `ESMTP`: it said EHLO.
    pub extended: bool,
    /// `LOGIN`: who authenticated at the proxy; SASLprep's result (RFC 4013), as of all logins.
    pub login: Claimed<Box<str>>,
}

/// One attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum Claimed<T> {
    /// Not named.
    #[default]
    Unchanged,
    /// Named as not available.
    Unknown,
    /// This.
    Is(T),
}

/// Why an XCLIENT command is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XclientError {
    /// Not `name=value`.
    #[error("syntax: XCLIENT attribute=value...")]
    Form,
    /// A name that EHLO did not offer.
    #[error("attribute not recognised")]
    Name,
    /// A value that its attribute cannot have.
    #[error("bad value for {0}")]
    Value(&'static str),
    /// An attribute has more than one value.
    #[error("{0} given twice")]
    Twice(&'static str),
}

impl ClaimedClient {
    /// The attributes that EHLO offers.
    pub(super) const OFFER: &'static str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN";

    pub(super) fn parse(attributes: &str) -> Result<Self, XclientError> {
        let mut claim = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for word in attributes.split(' ').filter(|w| !w.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(XclientError::Form)?;
            let known = ATTRIBUTES
                .iter()
                .find(|a| a.eq_ignore_ascii_case(name))
                .ok_or(XclientError::Name)?;
            if seen.contains(known) {
                return Err(XclientError::Twice(known));
            }
            seen.push(known);
            claim.set(known, value)?;
        }
        Ok(claim)
    }

    fn set(&mut self, known: &'static str, value: &str) -> Result<(), XclientError> {
        let bad = XclientError::Value(known);
        let value = if value.eq_ignore_ascii_case(TEMPORARILY) {
            None
        } else {
            decode(value).ok_or(bad)?
        };
        if value.as_ref().is_some_and(|v| v.len() > MAX_VALUE) {
            return Err(bad);
        }
        match (known, value) {
            ("ADDR", Some(value)) => {
                self.address = Claimed::Is(address(&value).ok_or(bad)?);
            }
            ("ADDR", None) => self.address = Claimed::Unknown,
            ("PORT", value) => {
                let port = value.map(|v| port(&v).ok_or(bad));
                self.port = port.transpose()?;
            }
            ("PROTO", Some(value)) => {
                let extended = value.eq_ignore_ascii_case("ESMTP");
                if !extended && !value.eq_ignore_ascii_case("SMTP") {
                    return Err(bad);
                }
                self.extended = extended;
            }
            ("HELO", value) => {
                self.helo = claimed(value.map(|v| v.chars().map(harmless).collect()));
            }
            ("LOGIN", value) => {
                // RFC 4616 section 2: names are compared after SASLprep.
                let name = value
                    .map(|name| prepared_name(&name).ok_or(bad))
                    .transpose();
                self.login = claimed(name?);
            }
            // Names from reverse DNS decide nothing here (row G3-06), and a protocol that is not
            // available is the default.
            _ => {}
        }
        Ok(())
    }
}

fn claimed(value: Option<String>) -> Claimed<Box<str>> {
    value.map_or(Claimed::Unknown, |value| Claimed::Is(value.into()))
}

const ATTRIBUTES: &[&str] = &["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN"];
const TEMPORARILY: &str = "[TEMPUNAVAIL]";
const MAX_VALUE: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_06_attributes_of_xclient() {
        let claim = ClaimedClient::parse(
            "NAME=spike.test addr=192.0.2.9 PORT=4000 PROTO=ESMTP HELO=spike+2Etest LOGIN=ann",
        );
        let want = ClaimedClient {
            address: Claimed::Is([192, 0, 2, 9].into()),
            port: Some(4000),
            helo: Claimed::Is("spike.test".into()),
            extended: true,
            login: Claimed::Is("ann".into()),
        };
        assert_eq!(claim, Ok(want));
        let address = |text: &str| ClaimedClient::parse(text).map(|c| c.address);
        assert_eq!(
            address("ADDR=IPV6:2001:db8::1"),
            Ok(Claimed::Is("2001:db8::1".parse().unwrap()))
        );
        assert_eq!(
            address("ADDR=IPV6:::ffff:10.0.0.1"),
            Ok(Claimed::Is([10, 0, 0, 1].into()))
        );
        // ROMAN NUMERAL NINE, as the same login at our own listener (RFC 4013 section 3).
        let login = ClaimedClient::parse("LOGIN=+E2+85+A8").map(|c| c.login);
        assert_eq!(login, Ok(Claimed::Is("IX".into())));
        assert_eq!(address("ADDR=[UNAVAILABLE]"), Ok(Claimed::Unknown));
        assert_eq!(address("NAME=[tempunavail] HELO=x"), Ok(Claimed::Unchanged));
        for (bad, want) in [
            ("ADDR", XclientError::Form),
            ("IDENT=x", XclientError::Name),
            ("NAME=a.test name=b.test", XclientError::Twice("NAME")),
            (
                "LOGIN=ann ADDR=192.0.2.9 LOGIN=bob",
                XclientError::Twice("LOGIN"),
            ),
            ("ADDR=spike.test", XclientError::Value("ADDR")),
            ("PORT=65536", XclientError::Value("PORT")),
            ("PORT=+2B25", XclientError::Value("PORT")),
            ("PROTO=HTTP", XclientError::Value("PROTO")),
            ("LOGIN=", XclientError::Value("LOGIN")),
            ("LOGIN=+C2+AD", XclientError::Value("LOGIN")),
            // A name is refused rather than changed into another.
            ("LOGIN=a+0Ab", XclientError::Value("LOGIN")),
        ] {
            assert_eq!(ClaimedClient::parse(bad), Err(want), "{bad}");
        }
    }
}
