//! What happens on our side.

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const DESTINATION_SUSPENDED: Entry = Entry {
    key: "destination-suspended",
    statuses: &[EnhancedStatus::transient(4, 0)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "{domain} has failed several times in a row and is being left alone for a while",
    advice: "One message tries it from time to time, and all the others follow as soon as that one \
             gets through. `sealpost explain {domain}` has the cause.",
    request: "",
    clause: "RFC 5321 section 4.5.4.1",
    explanation: &[
        "After repeated failures to connect, a destination is tried by one message at a time, in growing \
         intervals, and the rest of its mail waits without attempts of its own. That spares a host that \
         is struggling, and spares us thousands of connections that would fail.",
        "The status code and the detail are those of the failure that began it. The first success wakes \
         all waiting mail. `sealpost queue retry --domain DOMAIN` tries at once.",
    ],
};

pub(super) const PARKED: Entry = Entry {
    key: "parked",
    statuses: &[EnhancedStatus::transient(3, 0)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "This message made our own delivery fail again and again, so it was set aside and is held",
    advice: "This is a defect in Sealpost or a damaged message file. Save the log around this time and \
             report it. `sealpost queue release` has the message tried again, `bounce` returns it to \
             its sender, `cancel` removes it.",
    request: "",
    clause: "RFC 5321 section 4.2.5",
    explanation: &[
        "Three attempts on this message ended with an internal error or found its content unreadable, \
         or the relay itself ended three times while it was being delivered; other mail to the same \
         destination is fine. So that it holds up nobody else, it is held as if an operator had held \
         it: no further attempt is made, and it is not returned to its sender, until somebody has \
         looked. Nothing has been lost.",
        "`sealpost queue list --reason parked` shows all such messages. After `sealpost queue release` \
         or `retry` it has three tries again.",
    ],
};

pub(super) const LOCAL: Entry = Entry {
    key: "local",
    statuses: &[
        EnhancedStatus::transient(3, 0),
        EnhancedStatus::transient(3, 1),
        EnhancedStatus::transient(3, 5),
    ],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "Something on this relay is broken",
    advice: "Look at `sealpost status` and at the errors in the log around this time: disk, resolver, \
             trust anchors. {kept}",
    request: "",
    clause: "RFC 3463 section 3.4",
    explanation: &[
        "The attempt did not fail at the recipient's side: our disk could not be read or written, our \
         resolver is down or refuses to serve this machine, there are no trust anchors to verify with, or no sockets are left. The detail \
         names which.",
        "No message is bounced for this. Status 4.3.1 means that the disk is full, 4.3.5 that something \
         is configured wrongly, 4.3.0 anything else.",
    ],
};
