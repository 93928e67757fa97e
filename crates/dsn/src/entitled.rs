//! Who may be told.

use mail_types::{Envelope, MessageClass, Recipient};

use crate::Action;

/// Whether the sender may be told that this happened to this recipient.
///
/// Never for a null reverse-path (RFC 3461 section 5.2, row F1-19), nor about a notification
/// (row F4-03) or a TLS report of ours (row F4-08); otherwise as `NOTIFY` says (RFC 3461
/// sections 5.2.2, 5.2.5, 5.2.6).
#[must_use]
pub fn entitled(envelope: &Envelope, recipient: &Recipient, action: Action) -> bool {
    if envelope.reverse_path.is_null() {
        return false;
    }
    match envelope.class {
        MessageClass::Dsn | MessageClass::Report => return false,
        MessageClass::Mail => {}
    }
    match action {
        Action::Failed | Action::Expired => recipient.notify.wants_failure(),
        Action::Delayed => recipient.notify.wants_delay(),
        Action::Relayed => recipient.notify.wants_success(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{envelope, recipient};
    use mail_types::{Notify, ReversePath};

    const fn on(success: bool, failure: bool, delay: bool) -> Notify {
        Notify::On {
            success,
            failure,
            delay,
        }
    }

    /// failed, expired, delayed, relayed
    fn answers(notify: Notify) -> [bool; 4] {
        let r = Recipient {
            notify,
            ..recipient("b@d.test")
        };
        [
            Action::Failed,
            Action::Expired,
            Action::Delayed,
            Action::Relayed,
        ]
        .map(|a| entitled(&envelope("a@s.test"), &r, a))
    }

    #[test]
    fn f1_13_to_f1_17_notify_decides() {
        for (notify, want, why) in [
            (
                Notify::Unspecified,
                [true, true, true, false],
                "F1-14, F1-15: failures, delays",
            ),
            (Notify::Never, [false; 4], "F1-13: nothing at all"),
            (
                on(true, false, false),
                [false, false, false, true],
                "F1-16: success only",
            ),
            (
                on(false, true, false),
                [true, true, false, false],
                "F1-17: a list without DELAY",
            ),
            (
                on(false, false, true),
                [false, false, true, false],
                "F1-17: DELAY only",
            ),
        ] {
            assert_eq!(answers(notify), want, "{why}");
        }
    }

    #[test]
    fn f1_19_f4_03_f4_08_nobody_is_told_of_automatic_mail() {
        let r = Recipient {
            notify: on(true, true, true),
            ..recipient("b@d.test")
        };
        let mut null = envelope("a@s.test");
        null.reverse_path = ReversePath::Null;
        let mut dsn = envelope("a@s.test");
        dsn.class = MessageClass::Dsn;
        let mut report = envelope("a@s.test");
        report.class = MessageClass::Report;
        for e in [null, dsn, report] {
            for a in [
                Action::Failed,
                Action::Expired,
                Action::Delayed,
                Action::Relayed,
            ] {
                assert!(!entitled(&e, &r, a), "{:?} {a:?}", e.class);
            }
        }
        assert!(entitled(&envelope("a@s.test"), &r, Action::Relayed));
    }
}
