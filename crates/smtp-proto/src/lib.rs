//! SMTP client and server sessions as state machines without I/O (RFC 5321 and extensions).

mod reply;

pub use reply::{Reply, ReplyClass, ReplyError, ReplyLimits, ReplyParser, write_reply};
