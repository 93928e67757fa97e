//! MTA-STS records, policies, MX matching and evaluation (RFC 8461 sections 3 to 5).
