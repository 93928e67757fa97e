//! In which case of its reason a host has failed.

use attempt::Case;
use smtp_client::{Cause, CertificateFault, HandshakeFault};
use smtp_proto::{MissingExtension, Stage};

use crate::decide::replies;

/// What exactly is the matter, where one reason has several cases.
pub(crate) fn of(stage: Stage, cause: &Cause) -> Case {
    match cause {
        Cause::Certificate(failure) => match failure.fault {
            CertificateFault::SelfSigned => Case::SelfSigned,
            CertificateFault::MissingIntermediate { .. } => Case::IncompleteChain,
            CertificateFault::NotYetValid { .. } => Case::NotYetValid,
            CertificateFault::Revocation("revoked") => Case::Revoked,
            CertificateFault::Revocation(_) => Case::RevocationUnknown,
            CertificateFault::Purpose(_) => Case::WrongPurpose,
            CertificateFault::Expired { .. }
            | CertificateFault::HostMismatch { .. }
            | CertificateFault::UnknownIssuer { .. }
            | CertificateFault::Constraint(_)
            | CertificateFault::Algorithm(_)
            | CertificateFault::BadSignature
            | CertificateFault::Malformed(_)
            | CertificateFault::KeyNotProven
            | CertificateFault::Other(_) => Case::Usual,
        },
        Cause::Handshake(HandshakeFault::ClientCertificate(_)) => Case::ClientCertificate,
        Cause::Handshake(
            HandshakeFault::Eof
            | HandshakeFault::Reset
            | HandshakeFault::Timeout
            | HandshakeFault::NotTls,
        ) => Case::BrokenOff,
        Cause::Handshake(HandshakeFault::Alert(name)) if &**name == "unrecognised-name" => {
            Case::NameNotServed
        }
        Cause::Handshake(HandshakeFault::CertificateTooLarge) => Case::CertificateTooLarge,
        Cause::Protocol(_) => Case::NotSmtp,
        Cause::Remote(reply) => replies::case(stage, reply),
        Cause::Missing(MissingExtension::Size { .. }) => Case::TooBig,
        Cause::Missing(MissingExtension::EightBitMime) => Case::EightBit,
        Cause::Missing(MissingExtension::SmtpUtf8) => Case::NotAscii,
        Cause::Missing(MissingExtension::RequireTls)
        | Cause::Connect(_)
        | Cause::StartTlsNotOffered(_)
        | Cause::StartTlsRefused(_)
        | Cause::StartTlsInjection
        | Cause::Handshake(_)
        | Cause::Dane(_)
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Auth(_)
        | Cause::Local(_)
        | Cause::Configured(_) => Case::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::verdict::Failure;
    use attempt::{DemandedBy, Facts, Side};
    use mail_types::HostName;
    use smtp_client::CertificateFailure;
    use smtp_proto::Reply;

    #[test]
    fn a_reply_that_names_a_block_list_is_ours_to_put_right() {
        let listed = Reply::new(554, None, "Client host blocked using zen.spamhaus.org");
        let other = Reply::new(554, None, "No SMTP service here");
        for (stage, usual) in [
            (Stage::Banner, Case::AtGreeting),
            (Stage::Mail, Case::Usual),
            (Stage::Dot, Case::Usual),
        ] {
            let said = |reply: &Reply| of(stage, &Cause::Remote(reply.clone()));
            assert_eq!(said(&listed), Case::Listed);
            assert_eq!(said(&other), usual);
        }
        let mx = HostName::parse("mx.d.test").unwrap();
        let mut refused = Failure::refused("d.test", &mx, Stage::Rcpt, &listed);
        assert_eq!(refused.case, Case::Listed);
        // Also where it is not the last word.
        refused.is_not_final(&Facts::default(), 1);
        let side = refused.reason.side_in(refused.case, DemandedBy::Recipient);
        assert_eq!(side, Side::Us);
        assert!(
            refused.detail.contains("spamhaus") && refused.detail.ends_with("could not be asked.")
        );
    }

    #[test]
    fn what_cannot_be_mended_by_a_chain_is_a_case_of_its_own() {
        for purpose in [
            "invalid-purpose",
            "ca-used-as-end-entity",
            "empty-extended-key-usage",
        ] {
            let fault = CertificateFault::Purpose(purpose);
            let cause = Cause::Certificate(Box::new(CertificateFailure {
                fault,
                leaf: None,
                presented: 1,
            }));
            assert_eq!(of(Stage::StartTls, &cause), Case::WrongPurpose);
        }
        let large = Cause::Handshake(HandshakeFault::CertificateTooLarge);
        assert_eq!(of(Stage::StartTls, &large), Case::CertificateTooLarge);
    }
}
