//! The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 9266).

use data_encoding::BASE64;

use crate::scram::ScramSecret;
use crate::server::names;

/// `client-first-message`, read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) struct ClientFirst {
    /// The user's name, unescaped.
    pub(in crate::server) user: Box<str>,
    /// `client-first-message-bare`.
    bare: Box<str>,
    nonce: Box<str>,
    /// What `c=` of the second message has to be: the GS2 header and, with PLUS, the binding.
    binding: Box<[u8]>,
}

/// Our challenge is out.
#[derive(Debug)]
pub(in crate::server) struct Exchange {
    pub(in crate::server) user: Box<str>,
    /// `client-first-message-bare "," server-first-message`.
    so_far: String,
    nonce: String,
    binding: Box<[u8]>,
    secret: ScramSecret,
}

/// Why an exchange cannot go on. None of these tells whether the user exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum ScramError {
    /// Not the grammar of RFC 5802 section 7, or an extension that we do not know.
    Malformed,
    /// It wants to act for somebody else.
    OtherIdentity,
    /// It says that we offer no channel binding, but we do: somebody took it out of our EHLO
    /// (RFC 5802 section 6).
    Downgraded,
    /// Another kind of channel binding than `tls-exporter`, or none with PLUS.
    Binding,
}

impl ClientFirst {
    /// Reads the first message. `exporter` is this connection's `tls-exporter`, where PLUS is
    /// offered; `plus`: this is the mechanism with it.
    pub(in crate::server) fn parse(
        message: &[u8],
        plus: bool,
        exporter: Option<&[u8]>,
    ) -> Result<Self, ScramError> {
        let text = str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let mut part = || parts.next().ok_or(ScramError::Malformed);
        let (flag, authzid, bare) = (part()?, part()?, part()?);
        let mut binding = format!("{flag},{authzid},").into_bytes();
        match (flag, plus) {
            ("n", false) => {}
            ("y", false) if exporter.is_some() => return Err(ScramError::Downgraded),
            ("y", false) => {}
            ("p=tls-exporter", true) => binding.extend(exporter.ok_or(ScramError::Binding)?),
            _ if flag.starts_with("p=") || plus => return Err(ScramError::Binding),
            _ => return Err(ScramError::Malformed),
        }
        let mut parts = bare.split(',');
        // `m=` in front would be an extension that we do not know (RFC 5802 section 5.1).
        let mut value = |name: &str| parts.next().and_then(|p| p.strip_prefix(name));
        let user = value("n=")
            .and_then(unescape)
            .ok_or(ScramError::Malformed)?;
        let nonce = value("r=").ok_or(ScramError::Malformed)?;
        let printable = |b: u8| matches!(b, b'!'..=b'~');
        if user.is_empty() || nonce.is_empty() || !nonce.bytes().all(printable) {
            return Err(ScramError::Malformed);
        }
        let for_whom = match authzid.strip_prefix("a=") {
            Some(name) => unescape(name).ok_or(ScramError::Malformed)?,
            None if authzid.is_empty() => user.clone(),
            None => return Err(ScramError::Malformed),
        };
        if !names::is_same(&for_whom, &user) {
            return Err(ScramError::OtherIdentity);
        }
        Ok(Self {
            user,
            bare: bare.into(),
            nonce: nonce.into(),
            binding: binding.into(),
        })
    }

    /// Our challenge; `nonce` is ours, printable ASCII without a comma.
    pub(in crate::server) fn challenge(
        self,
        secret: ScramSecret,
        nonce: &str,
    ) -> (Exchange, String) {
        let nonce = format!("{}{nonce}", self.nonce);
        let salt = BASE64.encode(&secret.salt);
        let challenge = format!("r={nonce},s={salt},i={}", secret.rounds);
        let exchange = Exchange {
            user: self.user,
            so_far: format!("{},{challenge}", self.bare),
            nonce,
            binding: self.binding,
            secret,
        };
        (exchange, challenge)
    }
}

impl Exchange {
    /// Judges the second message. `Some`: the proof holds, and this is our last word.
    pub(in crate::server) fn judge(&self, message: &[u8]) -> Result<Option<String>, ScramError> {
        let text = str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut parts = without_proof.split(',');
        let mut value = |name: &str| parts.next().and_then(|p| p.strip_prefix(name));
        let binding = value("c=").ok_or(ScramError::Malformed)?;
        let nonce = value("r=").ok_or(ScramError::Malformed)?;
        let decode = |text: &str| {
            let octets = BASE64.decode(text.as_bytes());
            octets.map_err(|_| ScramError::Malformed)
        };
        let (binding, proof) = (decode(binding)?, decode(proof)?);
        let message = format!("{},{without_proof}", self.so_far);
        let keys = &self.secret.keys;
        // The proof covers binding and nonce as the client said them; all three have to be right.
        let holds = keys.accept(message.as_bytes(), &proof);
        if !holds || nonce != self.nonce || *binding != *self.binding {
            return Ok(None);
        }
        let signature = keys.signature(message.as_bytes());
        Ok(Some(format!("v={}", BASE64.encode(&signature))))
    }
}

/// `saslname` (RFC 5802 section 5.1).
fn unescape(text: &str) -> Option<Box<str>> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once('=') {
        name.push_str(front);
        let (code, behind) = behind.split_at_checked(2)?;
        name.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = behind;
    }
    name.push_str(rest);
    Some(name.into())
}

#[cfg(test)]
mod tests;
