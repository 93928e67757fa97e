//! What is wrong with a PEM file, for those who look after it.

use rustls_pki_types::pem::Error;

/// Why a file gives no certificate, key or list, in words that name the line and not its octets.
#[must_use]
pub fn why_no_pem(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => format!(
            "\"-----END {}-----\" is missing: perhaps only a part of it was written",
            line(end_marker)
        ),
        Error::IllegalSectionStart { line: start } => {
            format!("the line \"{}\" begins no PEM section", line(start))
        }
        Error::Base64Decode(_) => "what stands between its markers is not Base64".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "what is wanted is not in it".to_owned(),
        error => error.to_string(),
    }
}

fn line(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let shown = text.trim().chars().take(LONGEST_LINE);
    shown
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

const LONGEST_LINE: usize = 60;

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    fn said(pem: &[u8]) -> String {
        let mut found = CertificateDer::pem_slice_iter(pem);
        let error = found.next().unwrap().unwrap_err();
        why_no_pem(&error)
    }

    #[test]
    fn h3_33_half_a_file_is_told_as_half_a_file() {
        assert_eq!(
            said(b"-----BEGIN CERTIFICATE-----\nMIIB\n"),
            "\"-----END CERTIFICATE-----\" is missing: perhaps only a part of it was written"
        );
        assert_eq!(
            said(b"-----BEGIN CERTIFICATE\x1b--\nMIIB\n"),
            "the line \"-----BEGIN CERTIFICATE?--\" begins no PEM section"
        );
        assert_eq!(
            said(b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"),
            "what stands between its markers is not Base64"
        );
        assert_eq!(
            why_no_pem(&Error::NoItemsFound),
            "what is wanted is not in it"
        );
    }
}
