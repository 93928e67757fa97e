//! `log.level` as a filter of `tracing`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The filter that `log.level` describes.
///
/// # Errors
/// It is no list of `part=level`.
pub fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}
