//! What the configuration says.

use tls_rpt::Identity;

/// What the configuration says; a reload may change all of it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who reports. `None`: nothing is counted and nothing sent.
    pub identity: Option<Identity>,
    /// Whether reports may go by mail: there is a key to sign them with (RFC 8460 section 3).
    pub by_mail: bool,
}
