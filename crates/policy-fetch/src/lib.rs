//! One fetch of an MTA-STS policy over HTTPS (RFC 8461 section 3.3), every way in which it fails, and when the
//! next may begin.

mod fetch;
mod gate;
mod https;

pub use fetch::{FetchError, FetchFailure, PkixError, PolicyFetcher, ResultType, Stage};
pub use gate::{BACK_OFF, Gate, Pass};
pub use https::{CONNECTIONS, HttpsFetcher, HttpsFetcherError, Note, TlsSource};
pub use tls_words::Untrusted;
