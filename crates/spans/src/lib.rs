//! Deliveries as spans of OpenTelemetry: values of values, nothing is sent from here.

mod story;

pub use story::{Naming, Trace, of, of_cancelled};
