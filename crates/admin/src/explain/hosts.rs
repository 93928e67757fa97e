//! What DNS says of a domain's hosts, in plain words.

use attempt::Reason;
use delivery::Hosts;
use delivery::decide::hosts::Candidate;
use delivery::decide::standing::{HostDane, Vouched};

/// Which hosts there are, or why there are none; and DANE, where it plays a part.
pub(super) fn paragraphs(hosts: &Hosts) -> Vec<String> {
    let candidates = match hosts {
        Hosts::Candidates(candidates) => candidates,
        Hosts::Undeliverable {
            reason: (reason, _),
            detail,
            ..
        } => {
            let takes_none = match reason {
                Reason::NullMx | Reason::NoSuchDomain => "It takes no mail. ",
                _ => "",
            };
            return vec![format!(
                "{takes_none}DNS says now that its mail can go nowhere ({reason}): {detail}."
            )];
        }
        Hosts::Unknown {
            reason: Reason::Local,
            detail,
        } => {
            return vec![format!(
                "This relay cannot find out now where its mail goes, which is a fault on our side (local): {detail}."
            )];
        }
        Hosts::Unknown { reason, detail } => {
            return vec![format!(
                "DNS does not say now where its mail goes ({reason}): {detail}."
            )];
        }
    };
    let mut out: Vec<String> = named(candidates).into_iter().collect();
    out.extend(dane(candidates));
    out
}

/// Names, preferences and addresses.
fn named(candidates: &[Candidate]) -> Option<String> {
    let each = candidates.iter().take(SHOWN).map(|c| match &c.addresses {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let port = if c.port == 25 {
                String::new()
            } else {
                format!(", port {}", c.port)
            };
            match is_literal(c) {
                // Its name stands for the address and is of no use to anybody.
                true => format!("[{}]{port}", shown.join(", ")),
                false => format!("{} ({}{port})", c.name, shown.join(", ")),
            }
        }
        Err(why) if why.reason == Reason::Local => {
            format!(
                "{} (not known by a fault on our side: {})",
                c.name, why.detail
            )
        }
        Err(why) => format!("{} (not usable: {})", c.name, why.detail),
    });
    let each: Vec<String> = each.collect();
    let more = if candidates.len() > SHOWN {
        ", and more"
    } else {
        ""
    };
    (!each.is_empty()).then(|| {
        format!(
            "Its mail goes to, in this order: {}{more}.",
            each.join(", ")
        )
    })
}

/// Whether it was given as an address: then [`delivery::decide::hosts`] has made up its name.
fn is_literal(candidate: &Candidate) -> bool {
    let addresses = candidate.addresses.as_deref().unwrap_or_default();
    let [address] = addresses else { return false };
    let text = address.to_string().replace(['.', ':'], "-");
    candidate.name.as_str() == format!("address-{}", text.trim_matches('-'))
}

/// Nothing if no host has TLSA records, and DNSSEC vouches for none.
fn dane(candidates: &[Candidate]) -> Option<String> {
    let secure = candidates
        .iter()
        .any(|c| c.standing.vouched == Vouched::Dnssec);
    let sentences: Vec<String> = candidates.iter().filter_map(of_host).collect();
    if sentences.is_empty() && !secure {
        return None;
    }
    let names = if secure {
        "DNSSEC vouches for the list of mail hosts."
    } else {
        "DNSSEC does not vouch for the list of mail hosts."
    };
    let records = if sentences.is_empty() {
        "None of them has TLSA records (DANE, RFC 7672).".to_owned()
    } else {
        sentences.join(" ")
    };
    Some(format!("{names} {records}"))
}

fn of_host(candidate: &Candidate) -> Option<String> {
    let name = &candidate.name;
    let at = |base: &mail_types::HostName| format!("_{}._tcp.{base}", candidate.port);
    match &candidate.standing.dane {
        HostDane::Absent => None,
        HostDane::Usable(records) => {
            let shown: Vec<String> = records
                .set
                .records()
                .iter()
                .map(ToString::to_string)
                .collect();
            Some(format!(
                "{name} has TLSA records at {} ({}): its certificate has to match one of them, or nothing \
                 is sent there.",
                at(&records.base),
                shown.join("; ")
            ))
        }
        HostDane::Unusable { base, why } => Some(format!(
            "None of the TLSA records of {name} at {} can be used ({why}): TLS is mandatory there, with \
             any certificate.",
            at(base)
        )),
        HostDane::Failed {
            detail, ours: true, ..
        } => Some(format!(
            "The TLSA records of {name} could not be asked for by a fault on our side ({detail}), so nothing is \
             sent there for now."
        )),
        HostDane::Failed { detail, .. } => Some(format!(
            "The TLSA records of {name} could not be looked up ({detail}), so nothing is sent there for \
             now."
        )),
    }
}

/// Hosts named.
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use delivery::decide::hosts::Unreachable;
    use delivery::decide::standing::Standing;
    use mail_types::HostName;

    use super::*;

    const LACK: &str = "we could not ask DNS: no file descriptor left";

    /// Nobody is to write to the recipient's administrator about it.
    #[test]
    fn h9_01_what_fails_on_our_side_is_not_put_down_to_the_domain() {
        let name = HostName::parse("mx.d.test").unwrap();
        let unknown = Hosts::Unknown {
            reason: Reason::Local,
            detail: LACK.to_owned(),
        };
        let host = |addresses, dane| {
            Hosts::Candidates(vec![Candidate {
                tls_name: name.clone(),
                name: name.clone(),
                preference: 10,
                port: 25,
                addresses,
                standing: Standing {
                    vouched: Vouched::Nobody,
                    dane,
                },
            }])
        };
        let no_address = Err(Unreachable {
            reason: Reason::Local,
            detail: LACK.to_owned(),
            definite: false,
        });
        let no_records = HostDane::Failed {
            base: name.clone(),
            detail: LACK.into(),
            ours: true,
        };
        let address = Ok(vec!["192.0.2.1".parse().unwrap()]);
        for hosts in [
            unknown,
            host(no_address, HostDane::Absent),
            host(address, no_records),
        ] {
            let said = paragraphs(&hosts).join(" ");
            assert!(said.contains("fault on our side"), "{said}");
            assert!(said.contains(LACK), "{said}");
        }
    }
}
