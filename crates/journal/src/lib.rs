//! Append-only, checksummed record log with group commit: the one place where durability is made.
