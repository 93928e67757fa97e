//! Fetches, stores and refreshes MTA-STS policies by max_age (RFC 8461 section 3.3).
