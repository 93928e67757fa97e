//! Any TXT record at `_smtp._tls` is refused, or names places that can stand in a header field, an envelope
//! and a request line.

use tls_rpt::{NoReports, Rua, record};

pub(super) fn check(text: &[u8]) {
    let once = record(&[text.to_vec()]);
    match &once {
        Ok(record) => {
            assert!(!record.rua.is_empty());
            record.rua.iter().for_each(is_safe);
        }
        Err(why) => assert!(!why.to_string().contains(char::is_control)),
    }
    // Twice it never counts.
    let several = matches!(
        record(&[text.to_vec(), text.to_vec()]),
        Err(NoReports::Several(2))
    );
    assert_eq!(several, once != Err(NoReports::NoRecord));
}

fn is_safe(place: &Rua) {
    let shown = place.to_string();
    match place {
        Rua::Mailto(mailbox) => {
            let address = mailbox.as_str();
            assert!(address.bytes().all(|b| (b' '..=b'~').contains(&b)));
            assert_eq!(mail_types::Mailbox::parse(address).as_ref(), Ok(mailbox));
        }
        Rua::Https(endpoint) => {
            assert!(endpoint.path_and_query.starts_with('/'));
            assert!(shown.bytes().all(|b| b.is_ascii_graphic()));
            // What is shown is read as the same place, but for what has to be encoded in a record.
            if !shown.contains(['!', ',', ';']) {
                let again = record(&[format!("v=TLSRPTv1;rua={shown}").into_bytes()]);
                assert_eq!(again.map(|record| record.rua), Ok(vec![place.clone()]));
            }
        }
    }
}
