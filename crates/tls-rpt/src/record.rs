//! Where a domain wants its reports: the TXT record at `_smtp._tls` (RFC 8460 section 3).

use std::fmt;

use mail_types::{Clean, HostName, Mailbox};

/// The record of a domain that wants reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRptRecord {
    /// Where to, in the record's order; never empty. One of them that accepts a report is enough (row B1-09).
    pub rua: Vec<Rua>,
    /// What stands in `rua` and is not used, harmless to show, and why.
    pub skipped: Vec<(String, &'static str)>,
}

/// A place for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rua {
    /// By mail; the address is ASCII.
    Mailto(Mailbox),
    /// By HTTPS.
    Https(Endpoint),
}

/// Where a report is POSTed to: always port 443, and a name in DNS (row B4-26). Whether its addresses may be
/// spoken to is for those to judge who look them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: HostName,
    /// Printable ASCII that begins with `/`.
    pub path_and_query: String,
}

/// Why a domain gets no reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReports {
    /// No record begins with `v=TLSRPTv1;`.
    #[error("there is no TLS reporting record")]
    NoRecord,
    /// More than one does.
    #[error("there are {0} TLS reporting records where exactly one is allowed")]
    Several(usize),
    /// The field `rua` is missing or empty.
    #[error("the field rua is missing")]
    NoRua,
    /// Nothing in `rua` can be used: what stands there, and why.
    #[error("nothing in rua can be used: {}", in_words(.0))]
    NothingUsable(Vec<(String, &'static str)>),
}

impl fmt::Display for Rua {
    /// As in the record, but decoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailto(mailbox) => write!(f, "mailto:{mailbox}"),
            Self::Https(endpoint) => endpoint.fmt(f),
        }
    }
}

impl fmt::Display for Endpoint {
    /// The URL to POST to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.host.as_str(), self.path_and_query)
    }
}

/// Reads the answer for `_smtp._tls.DOMAIN`: the TXT records, each with its strings joined.
///
/// # Errors
/// Says why there is nothing to send to.
pub fn record(answers: &[Vec<u8>]) -> Result<TlsRptRecord, NoReports> {
    let mut candidates = answers.iter().filter_map(|text| fields(text));
    let fields = candidates.next().ok_or(NoReports::NoRecord)?;
    match candidates.count() {
        0 => {}
        more => return Err(NoReports::Several(more + 1)),
    }
    let text = String::from_utf8_lossy(fields);
    let rua = text
        .split(';')
        .filter_map(|field| field.split_once('='))
        .find(|(name, _)| name.trim_matches(WSP) == "rua")
        .map(|(_, value)| value.trim_matches(WSP))
        .filter(|value| !value.is_empty())
        .ok_or(NoReports::NoRua)?;
    let mut record = TlsRptRecord {
        rua: Vec::new(),
        skipped: Vec::new(),
    };
    for uri in rua.split(',').map(|uri| uri.trim_matches(WSP)) {
        let parsed = if record.rua.len() < MAX_RUA {
            parse(uri)
        } else {
            Err("there are enough before it")
        };
        match parsed {
            Ok(rua) => record.rua.push(rua),
            Err(_) if record.skipped.len() >= MAX_RUA => {}
            Err(why) => record
                .skipped
                .push((Clean::new(uri, MAX_SHOWN).to_string(), why)),
        }
    }
    if record.rua.is_empty() {
        return Err(NoReports::NothingUsable(record.skipped));
    }
    Ok(record)
}

/// What follows `v=TLSRPTv1;`, whose case counts.
fn fields(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"v=TLSRPTv1")?;
    let blanks = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    rest.get(blanks..)?.strip_prefix(b";")
}

fn parse(uri: &str) -> Result<Rua, &'static str> {
    if uri.contains('!') {
        return Err("an exclamation mark has to be written as %21");
    }
    let (scheme, rest) = uri.split_once(':').ok_or("it is no URI")?;
    if scheme.eq_ignore_ascii_case("mailto") {
        mailto(rest).map(Rua::Mailto)
    } else if scheme.eq_ignore_ascii_case("https") {
        https(rest).map(Rua::Https)
    } else {
        Err("neither mailto: nor https:")
    }
}

/// RFC 6068: header fields that it wants are not for reports.
fn mailto(rest: &str) -> Result<Mailbox, &'static str> {
    const NO_ADDRESS: &str = "it holds no mail address";
    // A usual mistake: a local part could begin so, but none does.
    if rest.starts_with("//") {
        return Err(NO_ADDRESS);
    }
    let address = rest.split(['?', '#']).next().unwrap_or_default();
    let address = decoded(address).ok_or(NO_ADDRESS)?;
    let mailbox = Mailbox::parse(&address).or_else(|_| quoted(&address).ok_or(NO_ADDRESS))?;
    match mailbox.to_ascii() {
        Some(ascii) => Mailbox::parse(&ascii).map_err(|_| NO_ADDRESS),
        None => Err("the mail address is not ASCII"),
    }
}

/// `a,b@d.test` was written as `a%2Cb@d.test`; in mail it is `"a,b"@d.test`.
fn quoted(address: &str) -> Option<Mailbox> {
    let (local, domain) = address.rsplit_once('@')?;
    let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
    let is_usable = !local.is_empty() && !local.contains('"');
    Mailbox::parse(&format!("\"{escaped}\"@{domain}"))
        .ok()
        .filter(|_| is_usable)
}

fn https(rest: &str) -> Result<Endpoint, &'static str> {
    let rest = rest.strip_prefix("//").ok_or("it names no host")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return Err("no user and password may stand in it");
    }
    if authority.starts_with('[') {
        return Err("an IP address is no host name");
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if !matches!(port, "" | "443") {
        return Err("only port 443 is used");
    }
    let host = HostName::parse(host).map_err(|_| "it names no host in DNS")?;
    let last = host.as_str().rsplit('.').next().unwrap_or_default();
    // What some take for an address in hexadecimal.
    if last
        .strip_prefix("0x")
        .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err("an IP address is no host name");
    }
    let target = target.split('#').next().unwrap_or_default();
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its path is not printable ASCII");
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Endpoint {
        host,
        path_and_query: format!("{slash}{target}"),
    })
}

/// Percent-decoded (RFC 3986 section 2.1); `None` if that is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b == b'%' {
            let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
            octets.push(high << 4 | low);
        } else {
            octets.push(b);
        }
    }
    String::from_utf8(octets).ok()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

fn in_words(skipped: &[(String, &'static str)]) -> String {
    let words: Vec<String> = skipped
        .iter()
        .map(|(uri, why)| format!("\"{uri}\" ({why})"))
        .collect();
    words.join(", ")
}

const WSP: [char; 2] = [' ', '\t'];
/// More places than these are not asked.
const MAX_RUA: usize = 10;
/// Of a URI that is told.
const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests;
