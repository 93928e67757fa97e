//! What every route of the control API has: [`Routes`] with the one place that says who may act
//! ([`Operator`]), parameters that are known or refused, and refusals as problem details (RFC 9457).

mod described;
mod operator;
mod problem;
mod query;
mod routes;

pub use described::refusals_as_problems;
pub use operator::Operator;
pub use problem::{Problem, ProblemKind, quoted};
pub use query::{number, parameters, some};
pub use routes::{Route, Routes};
