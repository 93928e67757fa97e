//! The table: each reason with what is said of it.

/// One fault. Its recipient domain is `REASON.test`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) reason: &'static str,
    pub(super) event: &'static str,
    pub(super) dsn: &'static str,
    /// Who has to act.
    pub(super) side: &'static str,
    /// What the detail, and `explain ID`, has to name.
    pub(super) says: &'static [&'static str],
    /// What `explain DOMAIN` has to name.
    pub(super) domain_says: &'static [&'static str],
    /// Whether a host was connected to, or would have been.
    pub(super) reached: bool,
    /// Whether there was a TLS session.
    pub(super) tls: bool,
    /// Whether the host said something.
    pub(super) reply: bool,
    /// Who demanded something.
    pub(super) policies: &'static [&'static str],
    /// Whether one of the demands was not met.
    pub(super) policy_failed: bool,
    pub(super) attempt: Option<u64>,
}

impl Case {
    pub(super) fn domain(&self) -> String {
        format!("{}.test", self.reason)
    }

    pub(super) fn to(&self) -> String {
        format!("b@{}", self.domain())
    }

    pub(super) fn level(&self) -> &'static str {
        match (self.event, self.reason) {
            ("delivery.bounced", _) | (_, "route-auth") => "error",
            _ => "warn",
        }
    }
}

const fn waits(reason: &'static str, dsn: &'static str, side: &'static str) -> Case {
    Case {
        reason,
        event: "delivery.deferred",
        dsn,
        side,
        says: &[],
        domain_says: &[],
        reached: true,
        tls: false,
        reply: false,
        policies: &[],
        policy_failed: false,
        attempt: Some(1),
    }
}

const fn bounces(reason: &'static str, dsn: &'static str, side: &'static str) -> Case {
    Case {
        event: "delivery.bounced",
        ..waits(reason, dsn, side)
    }
}

const THEIRS: &str = "recipient-admin";
const STS: &[&str] = &["mta-sts"];

pub(super) const CASES: &[Case] = &[
    Case {
        says: &["STARTTLS", "XX?[2J"],
        domain_says: &["mode enforce", "mx.starttls-not-offered.test"],
        policies: STS,
        policy_failed: true,
        ..waits("starttls-not-offered", "4.7.10", THEIRS)
    },
    Case {
        says: &["refused to start it", "454 4.7.0 TLS is not available"],
        domain_says: &["starttls-refused"],
        reply: true,
        policies: STS,
        policy_failed: true,
        ..waits("starttls-refused", "4.7.10", THEIRS)
    },
    Case {
        says: &["in plain text behind its answer to STARTTLS"],
        domain_says: &["starttls-injection"],
        policies: STS,
        policy_failed: true,
        ..waits("starttls-injection", "4.7.5", THEIRS)
    },
    Case {
        says: &["TLS handshake with mx.tls-handshake.test failed"],
        domain_says: &["tls-handshake"],
        policies: STS,
        policy_failed: true,
        ..waits("tls-handshake", "4.7.5", THEIRS)
    },
    Case {
        says: &["mx.cert-expired.test has expired", "20"],
        domain_says: &["cert-expired"],
        tls: true,
        policies: STS,
        policy_failed: true,
        ..waits("cert-expired", "4.7.5", THEIRS)
    },
    Case {
        says: &[
            "mx.cert-host-mismatch.test is not for that name",
            "www.other.test",
        ],
        domain_says: &["cert-host-mismatch"],
        tls: true,
        policies: STS,
        policy_failed: true,
        ..waits("cert-host-mismatch", "4.7.5", THEIRS)
    },
    Case {
        says: &["is not accepted: ", "issuer"],
        domain_says: &["cert-not-trusted"],
        tls: true,
        policies: STS,
        policy_failed: true,
        ..waits("cert-not-trusted", "4.7.5", THEIRS)
    },
    Case {
        says: &["does not list it", "other.mx-not-in-policy.test"],
        domain_says: &["hosts other.mx-not-in-policy.test"],
        policies: STS,
        policy_failed: true,
        ..waits("mx-not-in-policy", "4.7.1", THEIRS)
    },
    Case {
        says: &["matches none of the TLSA records"],
        domain_says: &["_25._tcp.mx.dane-mismatch.test"],
        tls: true,
        policies: &["dane"],
        policy_failed: true,
        ..waits("dane-mismatch", "4.7.5", THEIRS)
    },
    Case {
        says: &["TLSA records of mx.dane-lookup.test could not be looked up"],
        domain_says: &["could not be looked up"],
        policies: &["dane"],
        policy_failed: true,
        ..waits("dane-lookup", "4.7.0", THEIRS)
    },
    Case {
        says: &["none of them can be used"],
        domain_says: &["can be used"],
        policies: &["local", "dane"],
        policy_failed: true,
        ..waits("dane-unusable", "4.7.0", THEIRS)
    },
    Case {
        says: &["requires DANE"],
        domain_says: &["dane-required"],
        policies: &["local"],
        policy_failed: true,
        ..waits("dane-required", "4.7.0", "us")
    },
    Case {
        says: &["REQUIRETLS", "supports that"],
        tls: true,
        policies: &["requiretls", "mta-sts"],
        policy_failed: true,
        ..bounces("requiretls-unsupported", "5.7.30", "us")
    },
    Case {
        says: &["REQUIRETLS", "vouches for"],
        domain_says: &["requiretls-no-tls"],
        policies: &["requiretls"],
        policy_failed: true,
        ..waits("requiretls-no-tls", "4.7.10", THEIRS)
    },
    Case {
        says: &["accepts mail only over TLS"],
        reply: true,
        ..bounces("tls-required-by-peer", "5.7.10", THEIRS)
    },
    Case {
        says: &["could not log in at [127.0.2.1]"],
        domain_says: &["route", "[127.0.2.1]:587", "hop.test"],
        reply: true,
        tls: true,
        policies: &["route"],
        ..waits("route-auth", "4.7.8", "us")
    },
    Case {
        says: &["has an MTA-STS policy", "answered SERVFAIL"],
        domain_says: &["not known whether"],
        reached: false,
        ..waits("policy-lookup", "4.4.3", "wait")
    },
    Case {
        says: &["dns-temporary.test"],
        domain_says: &["dns-temporary"],
        reached: false,
        ..waits("dns-temporary", "4.4.3", "wait")
    },
    Case {
        says: &["DNSSEC"],
        domain_says: &["dns-bogus"],
        reached: false,
        ..waits("dns-bogus", "4.4.3", THEIRS)
    },
    Case {
        says: &["refused"],
        domain_says: &["connect"],
        ..waits("connect", "4.4.1", "wait")
    },
    Case {
        says: &["connection", "mx.connection-lost.test"],
        domain_says: &["connection-lost"],
        tls: true,
        ..waits("connection-lost", "4.4.2", "wait")
    },
    Case {
        says: &["mx.timeout.test took too long to answer", "greeting"],
        domain_says: &["timeout"],
        ..waits("timeout", "4.4.2", "wait")
    },
    Case {
        says: &["must not be sent to", "10.1.2.3"],
        domain_says: &["10.1.2.3"],
        reached: false,
        ..waits("address-refused", "4.4.4", THEIRS)
    },
    Case {
        says: &[
            "says that the recipient's mailbox takes no mail",
            "450 4.2.1 ?[31mred?]0;title? <script>alert(1)</script>",
        ],
        domain_says: &["remote-4xx"],
        reply: true,
        tls: true,
        ..waits("remote-4xx", "4.2.1", THEIRS)
    },
    Case {
        says: &[
            "does not accept the recipient's address",
            "550 5.1.1 no such user",
        ],
        reply: true,
        tls: true,
        ..bounces("remote-5xx", "5.1.1", "us")
    },
    Case {
        says: &["no-such-domain.test does not exist"],
        domain_says: &["does not exist"],
        reached: false,
        ..bounces("no-such-domain", "5.1.2", "us")
    },
    Case {
        says: &["null-mx.test says that it does not accept mail"],
        domain_says: &["null-mx", "null MX"],
        reached: false,
        ..bounces("null-mx", "5.1.10", "us")
    },
    Case {
        says: &["None of the mail servers", "gone.no-usable-mx.test"],
        domain_says: &["gone.no-usable-mx.test"],
        reached: false,
        ..bounces("no-usable-mx", "5.4.4", THEIRS)
    },
    Case {
        says: &["come back to this relay"],
        domain_says: &["is this relay"],
        reached: false,
        ..bounces("loop", "5.4.6", "us")
    },
    Case {
        says: &["takes addresses that are not ASCII", "SMTPUTF8"],
        tls: true,
        ..bounces("extension-missing", "5.6.7", "us")
    },
    Case {
        says: &["cannot be read here"],
        tls: true,
        domain_says: &["local"],
        attempt: Some(2),
        ..waits("local", "4.3.0", "us")
    },
    Case {
        says: &["is suspended for ", "The last one: "],
        domain_says: &["suspended for another"],
        reached: false,
        // None was made.
        attempt: None,
        ..waits("destination-suspended", "4.4.1", "wait")
    },
];

/// Reasons whose fault needs a scene of its own, and where that stands.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[("parked", "scenarios/parked.rs")];
