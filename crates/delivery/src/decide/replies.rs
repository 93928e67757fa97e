//! What a host's reply says beyond its code: what is the matter, and so whose move it is (pure).

use attempt::{AnswerTo, Case, Said};
use smtp_client::{names_a_block_list, wants_a_login};
use smtp_proto::{Reply, Stage};

/// In which case of `remote-4xx` or `remote-5xx` a host has refused mail with this reply.
pub(crate) fn case(stage: Stage, reply: &Reply) -> Case {
    if names_a_block_list(reply) {
        return Case::Listed;
    }
    if wants_a_login(reply) {
        return Case::LoginWanted;
    }
    Case::of_reply(&Said {
        code: reply.code(),
        status: reply.enhanced(),
        text: &reply.to_string(),
        to: match stage {
            Stage::Banner | Stage::Ehlo | Stage::EhloTls => AnswerTo::Greeting,
            Stage::Rcpt => AnswerTo::Recipient,
            _ => AnswerTo::Other,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_client::wants_tls;

    fn said(text: &str) -> Reply {
        Reply::parse(&format!("{text}\r\n")).unwrap()
    }

    #[test]
    fn d2_08_a_login_is_not_tls() {
        for text in [
            "530 5.7.0 Must issue a STARTTLS command first",
            "530 5.7.10 Encryption required for requested authentication mechanism",
            "530 Use TLS",
        ] {
            assert!(wants_tls(&said(text)), "{text}");
            assert_eq!(case(Stage::Mail, &said(text)), Case::Usual, "{text}");
        }
        for text in [
            "530 5.7.0 Authentication required",
            "530 5.7.57 Client not authenticated to send mail",
            "530 5.5.1 Subtlstuff: log in first",
            "530",
        ] {
            assert!(!wants_tls(&said(text)), "{text}");
            assert_eq!(case(Stage::Mail, &said(text)), Case::LoginWanted, "{text}");
        }
    }
}
