//! XFORWARD: what a front Postfix knows of a message's origin (Postfix, `XFORWARD_README`).
//!
//! `XFORWARD 1*( SP name "=" value )`, values in xtext, `[UNAVAILABLE]` (any case) for what is
//! not known. Several commands add up; the attributes hold until the transaction ends.

use std::net::IpAddr;

use mail_types::{HostName, OrigClient, harmless};

use crate::xtext;

/// The attributes, as far as they are known. No control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `NAME`, `ADDR`, `PORT`, `HELO`, `PROTO`: whose mail it is.
    pub client: OrigClient,
    /// `IDENT`: the upstream's queue id.
    pub ident: Option<Box<str>>,
    /// `SOURCE`.
    pub source: Option<Source>,
}

/// Where the upstream got the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From itself.
    Local,
    /// From elsewhere.
    Remote,
}

/// Why an XFORWARD command is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XforwardError {
    /// Not `name=value`.
    #[error("syntax: XFORWARD attribute=value...")]
    Form,
    /// A name that EHLO did not offer.
    #[error("attribute not recognised")]
    Name,
    /// A value that its attribute cannot have.
    #[error("bad value for {0}")]
    Value(&'static str),
}

impl Forwarded {
    /// The attributes that EHLO offers.
    pub(super) const OFFER: &'static str = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT";

    /// Takes the attributes of one command; of a bad command none is taken.
    pub(super) fn update(&mut self, attributes: &str) -> Result<(), XforwardError> {
        let mut new = self.clone();
        for word in attributes.split(' ').filter(|w| !w.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(XforwardError::Form)?;
            new.set(name, value)?;
        }
        *self = new;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), XforwardError> {
        let known = ATTRIBUTES
            .iter()
            .find(|a| a.eq_ignore_ascii_case(name))
            .ok_or(XforwardError::Name)?;
        let bad = XforwardError::Value(known);
        let value = decode(value).ok_or(bad)?;
        let text = |max: usize| match &value {
            None => Ok(None),
            Some(v) if v.len() <= max => {
                Ok(Some(v.chars().map(harmless).collect::<String>().into()))
            }
            Some(_) => Err(bad),
        };
        match *known {
            "NAME" => {
                let name = value.map(|v| HostName::parse(&v).map_err(|_| bad));
                self.client.name = name.transpose()?.map(|name| name.as_str().into());
            }
            "HELO" => self.client.helo = text(MAX_NAME)?,
            "PROTO" => self.client.proto = text(MAX_PROTOCOL)?,
            "IDENT" => self.ident = text(MAX_NAME)?,
            "ADDR" => {
                let address = value.map(|v| address(&v).ok_or(bad));
                self.client.ip = address.transpose()?;
            }
            "PORT" => {
                let port = value.map(|v| port(&v).ok_or(bad));
                self.client.port = port.transpose()?;
            }
            _ => {
                self.source = match value {
                    None => None,
                    Some(v) if v.eq_ignore_ascii_case("LOCAL") => Some(Source::Local),
                    Some(v) if v.eq_ignore_ascii_case("REMOTE") => Some(Source::Remote),
                    Some(_) => return Err(bad),
                }
            }
        }
        Ok(())
    }
}

/// Outer `None`: not a value. Inner `None`: not available. The text is as it was said: what is shown of
/// it goes through [`harmless`], what is compared must not.
#[expect(
    clippy::option_option,
    reason = "the two kinds of nothing are different and local to this file"
)]
pub(super) fn decode(value: &str) -> Option<Option<String>> {
    if value.eq_ignore_ascii_case(UNAVAILABLE) {
        return Some(None);
    }
    let text = String::from_utf8(xtext::decode(value).ok()?).ok()?;
    if text.is_empty() {
        return None;
    }
    Some((!text.eq_ignore_ascii_case(UNAVAILABLE)).then_some(text))
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &text[5..],
        _ => text,
    };
    bare.parse().ok().map(|a: IpAddr| a.to_canonical())
}

/// Digits alone: no sign.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const ATTRIBUTES: &[&str] = &["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];
const MAX_NAME: usize = 255;
const MAX_PROTOCOL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_06_attributes_add_up() {
        let mut f = Forwarded::default();
        f.update("NAME=spike.test ADDR=192.0.2.9 proto=ESMTP")
            .unwrap();
        f.update("HELO=spike+2Etest IDENT=4RZ3Yk5Xm1z9tqF  SOURCE=remote PORT=25")
            .unwrap();
        assert_eq!(f.client.name.as_deref(), Some("spike.test"));
        assert_eq!(f.client.ip, "192.0.2.9".parse().ok());
        assert_eq!(f.client.proto.as_deref(), Some("ESMTP"));
        assert_eq!(f.client.helo.as_deref(), Some("spike.test"));
        assert_eq!(f.ident.as_deref(), Some("4RZ3Yk5Xm1z9tqF"));
        assert_eq!((f.source, f.client.port), (Some(Source::Remote), Some(25)));
        f.update("IDENT=[unavailable] ADDR=IPv6:2001:db8::1")
            .unwrap();
        assert_eq!(f.ident, None);
        assert_eq!(f.client.ip, "2001:db8::1".parse().ok());
    }

    /// As Postfix 3.7 answers them, but for ports above 65535 and `+zz`, which it takes.
    #[test]
    fn g5_06_a_bad_command_changes_nothing() {
        let long = format!("NAME={}", "a".repeat(64));
        for (bad, want) in [
            ("IDENT", XforwardError::Form),
            ("LOGIN=x", XforwardError::Name),
            ("IDENT=+zz", XforwardError::Value("IDENT")),
            ("IDENT=", XforwardError::Value("IDENT")),
            ("SOURCE=MARS", XforwardError::Value("SOURCE")),
            ("PORT=65536", XforwardError::Value("PORT")),
            ("PORT=+2B25", XforwardError::Value("PORT")),
            ("PORT=-1", XforwardError::Value("PORT")),
            ("ADDR=999.1.1.1", XforwardError::Value("ADDR")),
            ("ADDR=[192.0.2.9]", XforwardError::Value("ADDR")),
            ("ADDR=[TEMPUNAVAIL]", XforwardError::Value("ADDR")),
            ("ADDR=/run/mail.sock", XforwardError::Value("ADDR")),
            ("NAME=a..test", XforwardError::Value("NAME")),
            ("NAME=-a.test", XforwardError::Value("NAME")),
            ("NAME=spike+20test", XforwardError::Value("NAME")),
            ("NAME=192.0.2.9", XforwardError::Value("NAME")),
            (&long, XforwardError::Value("NAME")),
        ] {
            let mut f = Forwarded::default();
            assert_eq!(f.update(&format!("HELO=x {bad}")), Err(want));
            assert_eq!(f, Forwarded::default());
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_log() {
        let mut f = Forwarded::default();
        f.update("IDENT=a+0Ab+00+E2+80+AE").unwrap();
        assert_eq!(f.ident.as_deref(), Some("a b??"));
    }

    #[test]
    fn g5_06_what_is_not_available_is_not_known() {
        let mut f = Forwarded::default();
        for attribute in ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"] {
            f.update(&format!("{attribute}=[UNAVAILABLE]")).unwrap();
        }
        assert_eq!(f, Forwarded::default());
        f.update("NAME=my_host.test PORT=0 PROTO=XX").unwrap();
        assert_eq!(f.client.name.as_deref(), Some("my_host.test"));
    }
}
