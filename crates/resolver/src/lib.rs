//! hickory-resolver behind the Resolver port.
