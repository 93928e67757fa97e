//! What is said while no name server serves us: whoever runs the relay must not have to guess it from what
//! waits, and whether they are silent or refuse us decides what is to be done.

use std::time::Instant;

use crate::conduct::Absence;

/// No name server has answered since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When that was first looked into.
    pub since: Instant,
    /// What they do instead.
    pub how: Absence,
    /// Who was asked and what came of it, for a reader.
    pub why: String,
}

impl Silence {
    /// What is wrong, a sentence without its period.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match self.how {
            Absence::Silent => "No name server has answered us",
            Absence::Refuses => "The name servers refuse our questions",
            Absence::Fails => "The name servers answer every question with an error",
            Absence::Refers => "The name servers do not recurse for us",
            Absence::Unusable => "No name server gives us an answer that can be used",
            Absence::Mixed => "No name server serves us",
        };
        format!("{what}: {}", self.why)
    }

    /// The same, to be read after a colon, with what follows from it after so many seconds.
    #[must_use]
    pub fn lasting(&self, seconds: u64) -> String {
        let what = match self.how {
            Absence::Silent => "no name server has answered",
            Absence::Refuses => "the name servers refuse our questions, and none was answered",
            Absence::Fails => "the name servers have answered every question with an error",
            Absence::Refers => {
                "the name servers do not recurse for us, and no question was answered"
            }
            Absence::Unusable => "no name server has given us an answer that can be used",
            Absence::Mixed => "no name server has served us",
        };
        let why = &self.why;
        let said =
            format!("{what} for {seconds} s, so that only what needs no DNS is delivered: {why}");
        match self.how {
            Absence::Silent => said,
            _ => format!("{said}; {}", self.remedy()),
        }
    }

    /// What is to be done.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.how {
            Absence::Silent => {
                "see that the servers of dns.servers, or else of /etc/resolv.conf, run and answer this host"
            }
            Absence::Refuses => {
                "allow this machine's address in the access lists of the servers of dns.servers, or else of \
                 /etc/resolv.conf (BIND: allow-recursion and allow-query-cache; Unbound: access-control), \
                 see whom they forward to (dnsmasq refuses if it knows nobody), or name in dns.servers resolvers that \
                 serve this machine"
            }
            Absence::Fails => {
                "see what the log of the servers of dns.servers, or else of /etc/resolv.conf, says, whom they forward \
                 to, whether they reach the Internet, and, if they validate, whether their clock is right; or name in \
                 dns.servers resolvers that work"
            }
            Absence::Refers => {
                "name in dns.servers resolvers, which look up every name for this machine: these servers tell only \
                 what they hold themselves, or their recursion is off (BIND: recursion; PowerDNS and NSD have none)"
            }
            Absence::Unusable => {
                "see what answers at the addresses of dns.servers, or else of /etc/resolv.conf, and that it is reached \
                 over UDP and over TCP"
            }
            Absence::Mixed => {
                "see that the servers of dns.servers, or else of /etc/resolv.conf, run, and allow this machine's \
                 address in their access lists (BIND: allow-recursion and allow-query-cache; Unbound: access-control), \
                 or see whom they forward to"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "an Instant can be made in no other way; which one it is does not matter"
    )]

    use super::*;

    #[test]
    fn h1_02_refusals_and_silence_are_told_as_what_they_are() {
        let told = |how| {
            let (since, why) = (Instant::now(), "192.0.2.1".to_owned());
            let silence = Silence { since, how, why };
            (silence.sentence(), silence.lasting(7), silence.remedy())
        };
        let (sentence, lasting, remedy) = told(Absence::Refuses);
        assert_eq!(sentence, "The name servers refuse our questions: 192.0.2.1");
        assert!(
            lasting.contains("refuse our questions, and none was answered for 7 s"),
            "{lasting}"
        );
        for word in [
            "allow-recursion",
            "allow-query-cache",
            "access-control",
            "forward to",
            "dns.servers",
        ] {
            assert!(remedy.contains(word) && lasting.contains(word), "{word}");
        }
        let (sentence, lasting, remedy) = told(Absence::Silent);
        assert_eq!(sentence, "No name server has answered us: 192.0.2.1");
        assert!(
            lasting.starts_with("no name server has answered for 7 s"),
            "{lasting}"
        );
        assert!(!remedy.contains("allow") && !lasting.contains("refuse"));
        let (sentence, lasting, remedy) = told(Absence::Fails);
        assert!(sentence.contains("every question with an error"));
        assert!(lasting.contains("with an error for 7 s"), "{lasting}");
        assert!(remedy.contains("clock") && lasting.contains(remedy));
        let (sentence, _, remedy) = told(Absence::Refers);
        assert!(sentence.contains("do not recurse") && remedy.contains("dns.servers"));
        let (sentence, _, remedy) = told(Absence::Unusable);
        assert!(sentence.contains("can be used") && remedy.contains("TCP"));
        let (sentence, _, remedy) = told(Absence::Mixed);
        assert!(
            !sentence.contains("refuse")
                && remedy.contains("run")
                && remedy.contains("access-control")
        );
    }
}
