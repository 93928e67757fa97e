//! The configuration: layers, one table of keys, every problem at once.

mod settings;

#[allow(unused_imports, reason = "the names that wiring is written against")]
pub(crate) use settings::*;
