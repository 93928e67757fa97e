//! The name servers that are asked, all of them resolvers: questions put to them as a group, with retries and each by
//! itself where one fails, and whether they serve us at all.
//!
//! hickory brings the transports (UDP with TCP on truncation, retries, choice of the server). What is made of a reply
//! (validation, CNAMEs, memory) is not known here.

mod board;
mod closed;
mod config;
mod servers;
mod trouble;

pub use config::{BuildError, Config, Servers};
pub use servers::{
    Failure, NameServers, Replied, Reply, Served, Want, code_name, does_not_recurse,
};
pub use trouble::ours;
