//! The PROXY protocol, versions 1 and 2: for whom a load balancer's connection is.

mod header;
mod read;

pub use header::{ProxyHeader, ProxySource};
pub use read::{FRONT, LOOK, read, says_proxy};
