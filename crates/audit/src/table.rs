//! The table of findings: every kind with its key, group, severity, words and remedy.
//!
//! `{domain}`, `{host}` and `{detail}` are filled in. Keys are stable: scripts read them.

use crate::finding::{Group, Severity};

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) group: Group,
    pub(crate) severity: Severity,
    pub(crate) text: &'static str,
    pub(crate) remedy: &'static str,
}

macro_rules! findings {
    ($($kind:ident $key:literal $group:ident $severity:ident $text:literal $remedy:literal)*) => {
        /// What was found. The table gives each its severity, its words and its remedy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $key, "`")] $kind,)*
        }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];
        }

        const TABLE: &[Row] = &[$(Row {
            key: $key,
            group: Group::$group,
            severity: Severity::$severity,
            text: $text,
            remedy: $remedy,
        }),*];
    };
}

impl Kind {
    pub(crate) const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// A stable word, for instance `record-absent`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.row().key
    }

    /// Under which heading it stands.
    #[must_use]
    pub const fn group(self) -> Group {
        self.row().group
    }
}

findings! {
    OurResolver "our-resolver-silent" Record Error
        "our own name servers answer nobody, so that nothing can be said of {domain}: {detail}"
        "This side has to act, not {domain}: see that the servers of dns.servers, or else of /etc/resolv.conf, run and answer this host."
    OurAccess "our-resolver-refuses" Record Error
        "our own name servers refuse our questions, so that nothing can be said of {domain}: {detail}"
        "This side has to act, not {domain}: allow this machine's address in their access lists (BIND: allow-recursion and allow-query-cache; Unbound: access-control), see whom they forward to (dnsmasq refuses if it knows nobody), or name in dns.servers resolvers that serve this machine."
    OurServers "our-resolvers-absent" Record Error
        "none of our own name servers serves us, so that nothing can be said of {domain}: {detail}"
        "This side has to act, not {domain}: see that the servers of dns.servers, or else of /etc/resolv.conf, run and are resolvers, allow this machine's address in their access lists (BIND: allow-recursion and allow-query-cache; Unbound: access-control), and see whom they forward to."
    OurDnssec "our-dnssec-broken" Record Error
        "DNSSEC cannot be validated here and so nothing is looked up, so that nothing can be said of {domain}: {detail}"
        "This side has to act, not {domain}: look at the clock of this machine, at dns.trust-anchors, and whether the servers of dns.servers pass DNSSEC on. `sealpost check-config` says which."
    RecordFound "record-found" Record Good
        "_mta-sts.{domain} publishes the policy id {detail}"
        ""
    RecordAbsent "record-absent" Record Warning
        "there is no MTA-STS record at _mta-sts.{domain}: senders look for no policy, and whoever stands between them and the mail hosts can switch TLS off"
        "Serve a policy at https://mta-sts.{domain}/.well-known/mta-sts.txt, then publish a TXT record such as \"v=STSv1; id=20260301T000000;\" at _mta-sts.{domain}."
    RecordSeveral "record-several" Record Error
        "there are {detail} MTA-STS records at _mta-sts.{domain} where exactly one is allowed: senders must act as if there were none (RFC 8461 section 3.1)"
        "Delete all of them but one."
    RecordInvalid "record-invalid" Record Error
        "the MTA-STS record is invalid and counts as none: {detail}"
        "Write it as \"v=STSv1; id=20260301T000000;\": fields are name=value with a semicolon between them, and the id has 1 to 32 letters and digits, no hyphens or dots."
    RecordIdKept "record-id-not-changed" Record Warning
        "the policy is not the one that this relay fetched on {detail}: senders that know it go on with what they have until they fetch it for another reason, perhaps tomorrow"
        "Change the record's id whenever the policy changes, as soon as the new policy is served."
    RecordNearMiss "record-near-miss" Record Error
        "a TXT record at _mta-sts.{domain} looks like an MTA-STS record, but does not begin with v=STSv1; and is ignored: {detail}"
        "Begin it with exactly \"v=STSv1;\": STS in capital letters, a semicolon, and no quotes or blanks before it."
    RecordLookup "record-lookup-failed" Record Error
        "the look-up of _mta-sts.{domain} failed: {detail}"
        "Repair the name servers of the zone. Until they answer, senders that have never written to the domain cannot know whether it has a policy."
    RecordLocal "record-not-checked" Record Error
        "the record at _mta-sts.{domain} could not be looked at for a reason of our own: {detail}"
        "This is about this machine, not about {domain}: see to it and try again."
    RecordNameTooLong "record-name-too-long" Record Warning
        "the name _mta-sts.{domain} is longer than DNS allows: this domain cannot have a policy"
        "Use a shorter domain for mail."

    PolicyEnforce "policy-enforce" Policy Good
        "the policy is enforced for {detail}"
        ""
    PolicyTesting "policy-testing" Policy Warning
        "the policy is in mode testing: senders report failures and deliver all the same, so that it protects nobody yet"
        "Read the TLS reports, and change to \"mode: enforce\" (and the record's id with it) when they are clean. Some weeks of testing are enough."
    PolicyTestingLong "policy-testing-long" Policy Warning
        "the policy has been in mode testing for over a year: {detail}"
        "What has been tested for so long can be enforced: change to \"mode: enforce\", and the record's id with it. If there was never time to read the TLS reports, begin with those of the last week."
    PolicyNone "policy-none" Policy Warning
        "the policy has mode none: it asks for nothing, and senders that knew an older one forget it"
        "If MTA-STS is being taken down, keep this until the max_age of the last enforced policy is over, then remove the record. Otherwise publish \"mode: testing\" or \"mode: enforce\" and a new id."
    PolicyWithoutRecord "policy-without-record" Policy Warning
        "a policy is served, but without one valid record at _mta-sts.{domain} no sender looks for it"
        "Publish the TXT record \"v=STSv1; id=20260301T000000;\" at _mta-sts.{domain}."
    PolicyDoubtful "policy-not-applied" Policy Note
        "a policy is served; whether senders look for it is not known while the record cannot be looked up"
        ""
    PolicyNoAddress "policy-host-no-address" Policy Error
        "the policy host mta-sts.{domain} has no address, and so the policy of the record cannot be fetched: {detail}"
        "Publish an A or AAAA record (or a CNAME) for mta-sts.{domain}."
    PolicyDns "policy-host-dns" Policy Error
        "the address of the policy host mta-sts.{domain} could not be looked up: {detail}"
        "Repair the name servers of the zone."
    PolicySpecialUse "policy-host-special-use" Policy Error
        "the policy host cannot be used: {detail}"
        "Publish a public address for mta-sts.{domain}. For a test network, list its addresses in egress.allow-special-use here."
    PolicyConnect "policy-host-connect" Policy Error
        "{detail}"
        "Let a web server answer at mta-sts.{domain}, port 443, on every address that DNS gives for it."
    PolicyCertExpired "policy-certificate-expired" Policy Error
        "the certificate of mta-sts.{domain} is not valid: {detail}"
        "Renew the web server's certificate, and find out why it was not renewed by itself."
    PolicyCertEarly "policy-certificate-not-yet-valid" Policy Error
        "the certificate of mta-sts.{domain} is not valid: {detail}"
        "Look at the clocks here and there, or wait until the certificate is valid."
    PolicyCertName "policy-certificate-name" Policy Error
        "the certificate of mta-sts.{domain} is not valid: {detail}"
        "Get a certificate for mta-sts.{domain} and let the web server show it for that name (SNI): another site's certificate does not count."
    PolicyCertUntrusted "policy-certificate-untrusted" Policy Error
        "the certificate of mta-sts.{domain} is not valid: {detail}"
        "Use a certificate of a public authority and let the web server send the whole chain (\"fullchain\"): browsers fetch a missing intermediate by themselves, mail servers do not."
    PolicyCertOther "policy-certificate-invalid" Policy Error
        "the certificate of mta-sts.{domain} is not valid: {detail}"
        "Get a new certificate for mta-sts.{domain} from a public authority."
    PolicyTls "policy-host-tls" Policy Error
        "{detail}"
        "Let the web server speak TLS 1.2 or 1.3 at port 443, and have a certificate for mta-sts.{domain}."
    PolicyTimeout "policy-host-timeout" Policy Error
        "the policy did not arrive in time: {detail}"
        "Senders give the policy host a minute in all. Let it answer faster, and see that no firewall swallows packets."
    PolicyRedirect "policy-redirect" Policy Error
        "the policy host redirects, and redirects are not followed (RFC 8461 section 3.3): {detail}"
        "Serve the policy itself, with status 200, at https://mta-sts.{domain}/.well-known/mta-sts.txt. Exempt that path from redirects to another host or spelling."
    PolicyNotFound "policy-not-found" Policy Error
        "there is no policy at https://mta-sts.{domain}/.well-known/mta-sts.txt: {detail}"
        "Put the file there, with exactly this path, in the web site that answers for mta-sts.{domain}."
    PolicyRefused "policy-refused" Policy Error
        "the policy host refuses to serve the policy: {detail}"
        "Let anybody fetch the file. CDNs and web firewalls often refuse what is no browser: exempt this path from bot checks, logins and rate limits."
    PolicyServerError "policy-server-error" Policy Error
        "the policy host fails: {detail}"
        "Look into the web server's error log. Behind a CDN the server of origin is unreachable or fails."
    PolicyStatus "policy-status" Policy Error
        "the policy host answers with something else than 200: {detail}"
        "Serve the policy with status 200."
    PolicyMediaType "policy-media-type" Policy Error
        "the policy has the wrong Content-Type: {detail} (RFC 8461 section 3.2)"
        "Serve the file as text/plain."
    PolicyEncoding "policy-content-encoding" Policy Error
        "{detail}"
        "Serve the file without compression to clients that do not ask for it."
    PolicyOversize "policy-oversize" Policy Error
        "{detail}"
        "A policy has a few lines: see what else the web server sends."
    PolicyIncomplete "policy-incomplete" Policy Error
        "the policy did not arrive whole: {detail}"
        "See that Content-Length is the length of the file and that nothing cuts the answer off."
    PolicyBadHttp "policy-bad-http" Policy Error
        "the policy host gives no whole HTTP answer: {detail}"
        "Let an ordinary web server answer at port 443 of mta-sts.{domain}."
    PolicyInvalid "policy-invalid" Policy Error
        "the policy is invalid and counts for nothing: {detail}"
        "Correct that line. A whole policy: \"version: STSv1\", \"mode: enforce\", one \"mx: host.name\" for each mail host, \"max_age: 604800\", each on a line of its own."
    PolicyLocal "policy-not-checked" Policy Error
        "the policy could not be fetched for a reason of our own: {detail}"
        "This is about this machine, not about the domain: see to it and try again."
    MaxAgeShort "max-age-short" Policy Warning
        "max_age is {detail}: a policy that is forgotten within a day protects hardly anybody, since an attacker needs to block its fetch for no longer than that"
        "Raise max_age to some weeks, for instance 2419200 (four weeks), and change the record's id. Senders ask DNS for a new id at every delivery: a long max_age does not slow changes down."
    MaxAgeModest "max-age-modest" Policy Note
        "max_age is {detail}; weeks are recommended (RFC 8461 section 3.2)"
        "Raise max_age to some weeks, for instance 2419200."
    MaxAgeCut "max-age-cut" Policy Note
        "{detail}"
        "Write 31557600 (a year) at most."
    PolicyBlankLine "policy-blank-line" Policy Warning
        "{detail}; some senders reject the whole policy for it"
        "Delete the line."
    PolicyTrailingDot "policy-trailing-dot" Policy Warning
        "{detail}; some senders match nothing with it"
        "Delete the dot."
    PatternBroad "pattern-broad" Policy Warning
        "the pattern {detail}: every host below it is trusted"
        "List the mail hosts, or a wildcard below your own provider's name."
    PatternAddress "pattern-address" Policy Error
        "the pattern {detail}: policies list host names, never addresses"
        "Write the name that stands in the MX record."
    PatternTwoLabels "pattern-two-labels" Policy Warning
        "the pattern {detail}: a wildcard covers exactly one label"
        "Write the wildcard one level deeper, or list the host by its name."
    PatternApex "pattern-apex" Policy Warning
        "the pattern {detail}: a wildcard does not cover the name behind its dot"
        "Add a second mx line with the name itself."
    PatternTypo "pattern-typo" Policy Warning
        "the pattern {detail}"
        "If this is a slip, correct it and change the record's id."
    PatternUnused "pattern-unused" Policy Note
        "the pattern {detail} matches no mail host of today"
        "Harmless while a move is planned; otherwise delete it."

    MxFound "mx-found" Mx Good
        "{detail}"
        ""
    NoSuchDomain "no-such-domain" Mx Error
        "the domain {domain} does not exist (NXDOMAIN)"
        "Check the spelling; its owner may have let it lapse."
    NullMx "null-mx" Mx Error
        "{domain} says that it takes no mail (a null MX record, RFC 7505)"
        "If it should take mail, publish MX records that name hosts, and delete the one that names the root (\".\")."
    MxImplicit "mx-absent" Mx Warning
        "{domain} has no MX record: mail goes to the address of {domain} itself (RFC 5321 section 5.1)"
        "Publish an MX record that names the mail host. A policy would have to list {domain} itself."
    MxUnusable "mx-unusable" Mx Error
        "an MX record of {domain} names no host: {detail}"
        "An MX record names a host, never an address: publish the host's name, and an address for that name."
    MxLookup "mx-lookup-failed" Mx Error
        "the MX records of {domain} could not be looked up: {detail}"
        "Repair the name servers of the zone."
    MxLocal "mx-not-checked" Mx Error
        "the MX records of {domain} could not be looked at for a reason of our own: {detail}"
        "This is about this machine, not about {domain}: see to it and try again."
    MxMany "mx-many" Mx Note
        "{detail}"
        "A handful of MX records is enough."
    MxLoop "mx-loop" Mx Error
        "{detail}: mail would come back to us"
        "Configure a [[route]] for {domain} here, or correct its MX records."
    MxRouted "mx-routed" Mx Note
        "a [[route]] of this relay's configuration sends mail for {domain} to {detail}; what follows is about the domain's own mail hosts"
        ""

    HostListed "host-listed" Host Good
        "the policy lists it ({detail})"
        ""
    HostNotListed "host-not-listed" Host Error
        "no pattern of the policy covers it: under this policy no sender may use it"
        "Add \"mx: {host}\" to the policy and change the record's id. Do that before publishing new MX records, never after."
    HostNoAddress "host-no-address" Host Error
        "it has no address: {detail}"
        "Publish an A or AAAA record for {host}, or delete its MX record."
    HostLookup "host-lookup-failed" Host Error
        "its addresses could not be looked up: {detail}"
        "Repair the name servers of the zone that {host} is in."
    HostLocal "host-not-looked-at" Host Error
        "it could not be looked at for a reason of our own: {detail}"
        "This is about this machine or its configuration, not about {host}: see to it and try again."
    HostSpecialUse "host-special-use" Host Error
        "{detail}"
        "Publish a public address for {host}. For a test network, list its addresses in egress.allow-special-use here."
    HostConnect "host-connect" Host Error
        "{detail}"
        "See that the mail server runs and that no firewall is in the way. If no host of any domain answers, outgoing port 25 is blocked here: ask the provider of this machine."
    HostLost "host-lost" Host Error
        "{detail}"
        "See the mail server's log: it may be refusing us, or be overloaded."
    HostTimeout "host-timeout" Host Error
        "{detail}"
        "Let it greet and answer within seconds; senders wait some minutes, and hold a connection for that long."
    HostRefuses "host-refuses" Host Error
        "{detail}"
        "Read the reply: often this machine's address is on a blocklist, or has no reverse name."
    NoStartTls "no-starttls" Host Error
        "it does not offer STARTTLS ({detail})"
        "Give the mail server a certificate and switch STARTTLS on. If it is on, something on the way (a firewall with \"SMTP inspection\", or an attacker) takes it out."
    StartTlsRefused "starttls-refused" Host Error
        "it offers STARTTLS and refuses it ({detail})"
        "See the mail server's log: mostly it cannot read its certificate or key."
    StartTlsInjection "starttls-injection" Host Error
        "it lets commands be injected before TLS ({detail})"
        "Update the mail server (CVE-2011-0411); if it is up to date, somebody on the way tampers."
    TlsHandshake "tls-handshake" Host Error
        "{detail}"
        "Let it speak TLS 1.2 or 1.3 with an ordinary certificate and cipher suites."
    CertGood "certificate-good" Host Good
        "STARTTLS with {detail}"
        ""
    CertExpired "certificate-expired" Host Error
        "its certificate is not valid: {detail}"
        "Renew it, and reload the mail server: many keep the old one until then."
    CertEarly "certificate-not-yet-valid" Host Error
        "its certificate is not valid: {detail}"
        "Look at the clocks here and there, or wait until it is valid."
    CertName "certificate-name" Host Error
        "its certificate is not valid: {detail}"
        "Get a certificate that has {host} among its names: the name in the MX record counts, not the mail domain's."
    CertSelfSigned "certificate-self-signed" Host Error
        "its certificate is not valid: {detail}"
        "Replace it by one of a public authority: anybody can sign for himself."
    CertChain "certificate-incomplete-chain" Host Error
        "its certificate is not valid: {detail}"
        "Let the mail server send the whole chain: the file with the intermediate certificates (\"fullchain\") rather than the certificate alone."
    CertIssuer "certificate-untrusted-issuer" Host Error
        "its certificate is not valid: {detail}"
        "Use a certificate of a public authority. If the authority is a private one of yours, add it to tls.dangerous-extra-roots here."
    CertOther "certificate-invalid" Host Error
        "its certificate is not valid: {detail}"
        "Get a new certificate for {host} from a public authority."
    CertEndsSoon "certificate-ends-soon" Host Warning
        "its certificate ends on {detail}"
        "See that it is renewed in time, and that the mail server reloads it."
    DaneGood "dane-good" Host Good
        "its TLSA records accept the certificate ({detail})"
        ""
    DaneAbsent "dane-absent" Host Note
        "its zone is signed with DNSSEC, and it has no TLSA records"
        "With a TLSA record such as \"3 1 1\" and the SHA-256 of the key at _25._tcp.{host} senders would need no policy to know that TLS is safe (RFC 7672)."
    DaneUnsigned "dane-unsigned" Host Warning
        "it has TLSA records, but its zone is not signed with DNSSEC: they count for nobody"
        "Sign the zone of {host} with DNSSEC and have the DS record published above it, or delete the TLSA records."
    DaneAlias "dane-insecure-alias" Host Warning
        "it is an alias of {detail}, and not everything on that way is signed with DNSSEC: TLSA records of {host} do not count"
        "Name the mail host itself in the MX record, or have every zone on the way signed."
    DaneMismatch "dane-mismatch" Host Error
        "its certificate matches none of its TLSA records: senders with DANE deliver nothing there; {detail}"
        "Mostly the certificate was renewed with a new key and the record forgotten. Publish \"3 1 1\" with the SHA-256 of the present key (openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum). At the next change publish the new key's record beside the old one a day before, or let renewals keep the key."
    DaneAuthority "dane-authority" Host Error
        "its TLSA records name an authority, and that one does not vouch for its certificate: {detail}"
        "Under usage 2 the certificate must be in date, be for {host}, and come with the whole chain up to that authority. \"3 1 1\" with the host's own key needs none of this."
    DaneUnusable "dane-unusable" Host Warning
        "none of its TLSA records can be used for mail: {detail}; TLS is mandatory then, and authenticates nobody"
        "Publish \"3 1 1\" with the SHA-256 of the host's key. Usages 0 and 1 are for other protocols (RFC 7672 section 3.1.3)."
    DaneLookup "dane-lookup-failed" Host Error
        "its TLSA records could not be looked up ({detail}): as its zone is signed, senders with DANE deliver nothing there"
        "Let the zone's name servers answer TLSA queries, with records or a signed denial: \"dig +dnssec TLSA _25._tcp.{host}\" must end with NOERROR or NXDOMAIN. Old name servers and firewalls fail on types that they do not know."
    DaneLocal "dane-not-checked" Host Error
        "its TLSA records could not be looked at for a reason of our own: {detail}"
        "This is about this machine, not about {host}: see to it and try again."
    HostNotChecked "host-not-checked" Host Warning
        "{detail} was not checked: the time for this audit was up"
        "Run the audit again."

    ReportingFound "reporting-found" Reporting Good
        "TLS reports go to {detail}"
        ""
    ReportingAbsent "reporting-absent" Reporting Warning
        "there is no TLS reporting record at _smtp._tls.{domain}: nobody tells the domain when delivery over TLS fails"
        "Publish a TXT record such as \"v=TLSRPTv1; rua=mailto:tls-reports@{domain}\" at _smtp._tls.{domain} (RFC 8460)."
    ReportingSeveral "reporting-several" Reporting Error
        "there are {detail} TLS reporting records at _smtp._tls.{domain} where exactly one is allowed: no report is sent"
        "Delete all of them but one; a record may name several addresses with commas between them."
    ReportingInvalid "reporting-invalid" Reporting Error
        "the TLS reporting record is invalid: {detail}"
        "Write it as \"v=TLSRPTv1; rua=mailto:tls-reports@{domain}\"; an https: address is allowed too."
    ReportingLookup "reporting-lookup-failed" Reporting Warning
        "the look-up of _smtp._tls.{domain} failed: {detail}"
        "Repair the name servers of the zone."
    ReportingLocal "reporting-not-checked" Reporting Error
        "the record at _smtp._tls.{domain} could not be looked at for a reason of our own: {detail}"
        "This is about this machine, not about {domain}: see to it and try again."

    DnssecNotValidated "dnssec-not-validated" Dnssec Note
        "DNS answers are not validated here, so that TLSA records (DANE) are not looked at"
        "Set dns.dnssec in this relay's configuration, and see that its resolver passes DNSSEC on."
    DnssecMxSecure "dnssec-mx-secure" Dnssec Good
        "the MX records are signed with DNSSEC"
        ""
    DnssecMxInsecure "dnssec-mx-insecure" Dnssec Note
        "the MX records are not signed with DNSSEC: nobody vouches for the list of mail hosts"
        "Sign the zone of {domain} with DNSSEC. TLSA records of the mail hosts protect the domain fully only then."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole() {
        assert_eq!(Kind::ALL.len(), TABLE.len());
        let mut keys: Vec<_> = TABLE.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), TABLE.len(), "a key stands twice");
        for (n, kind) in Kind::ALL.iter().enumerate() {
            let row = kind.row();
            assert_eq!(*kind as usize, n);
            assert!(!row.text.ends_with('.'), "{}: {}", row.key, row.text);
            assert!(
                row.remedy.is_empty() || row.remedy.ends_with('.'),
                "{}",
                row.key
            );
            // Who reads of an error wants to know what to do.
            assert!(
                row.severity < Severity::Warning || !row.remedy.is_empty(),
                "{}",
                row.key
            );
            for text in [row.text, row.remedy] {
                for name in text.split('{').skip(1) {
                    let name = name.split('}').next().unwrap();
                    assert!(
                        ["domain", "host", "detail"].contains(&name),
                        "{}: {name}",
                        row.key
                    );
                }
            }
        }
    }
}
