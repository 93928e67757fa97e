//! One fetch of an MTA-STS policy over HTTPS (RFC 8461 section 3.3), and every way in which it fails.

mod fetch;
mod https;

pub use fetch::{FetchError, FetchFailure, PkixError, PolicyFetcher, ResultType, Stage};
pub use https::{HttpsFetcher, HttpsFetcherError, TlsSource};
