//! What an event shows, in one sentence.

use sealpost_tests::Event;

/// `None` for events that tell nothing about the message.
pub(crate) fn explain(event: &Event) -> Option<&'static str> {
    Some(match event.text("event") {
        "message.received" => "Envelope and content were synced to disk before 250 was answered.",
        "policy.first-contact" => match event.text("result") {
            "found" => {
                "The first mail to this domain: it is asked for its policy before anything is sent."
            }
            _ => "The first mail to this domain: it was asked for a policy, and has none.",
        },
        "policy.fetched" => {
            "Fetched over verified HTTPS and stored; in force until it expires, whatever DNS says."
        }
        "policy.testing-would-fail" => {
            "Had the domain enforced its policy, this mail would be waiting now."
        }
        "delivery.sent" => sent(event),
        "delivery.deferred" => deferred(event.text("reason")),
        "delivery.bounced" | "delivery.expired" => {
            "Given up; the sender gets a delivery status notification."
        }
        "message.removed" => "Every recipient is served: the message leaves the queue.",
        _ => return None,
    })
}

fn sent(event: &Event) -> &'static str {
    match (
        event.at("/policies/0/result").as_str(),
        event.at("/tls").is_null(),
    ) {
        (Some("satisfied"), _) => {
            "Delivered over TLS: the policy lists the host, and the certificate is valid for its name."
        }
        (Some(_), _) => "Delivered all the same: the domain only tests its policy.",
        (None, true) => {
            "Without a policy TLS is used whenever it is offered; plain text is the last resort."
        }
        (None, false) => "Without a policy any certificate will do: TLS against listeners only.",
    }
}

fn deferred(reason: &str) -> &'static str {
    match reason {
        "cert-expired" => {
            "Nothing was sent: the mail waits until the recipient's side renews the certificate."
        }
        "starttls-not-offered" => {
            "Nothing was sent: it would have been readable. An attack looks just like this."
        }
        "mx-not-in-policy" => {
            "Nothing was sent, no connection made: a forged MX record looks just like this."
        }
        _ => "Nothing was sent. The mail waits for the next attempt.",
    }
}
