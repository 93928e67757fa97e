//! Doubts a resolver that says of domains that they do not exist, though they should.

mod guard;

pub use guard::{Disbelief, Doubt, Existence, NxdomainGuard};
