//! Control API over the unix socket, metrics and health.
