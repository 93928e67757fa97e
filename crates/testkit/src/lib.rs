//! A small internet for tests: DNS zone, policy host, MX peers that misbehave on request, a CA, private loopback.
