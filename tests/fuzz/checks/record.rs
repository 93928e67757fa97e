//! Any TXT record is refused or printed so that it parses to itself.

use mta_sts::{Record, Selection};

pub(super) fn check(text: &[u8]) {
    let parsed = Record::parse(text);
    if let Ok(record) = &parsed {
        assert_eq!(
            Record::parse(record.to_string().as_bytes()).as_ref(),
            Ok(record)
        );
    }
    // Alone it is found if and only if it is valid; twice it never is.
    assert_eq!(
        matches!(Record::select([text]), Selection::Found(_)),
        parsed.is_ok()
    );
    assert!(matches!(Record::select([text, text]), Selection::None(_)));
}
