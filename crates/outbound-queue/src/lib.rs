//! The durable outbound queue on journal and sled.
