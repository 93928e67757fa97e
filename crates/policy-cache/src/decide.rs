//! Which policy applies, decided in one place and without I/O.
//!
//! What has to be fetched ([`need`]), for a look-up on behalf of mail and for a full check (daily
//! refresh, forced refresh, fresh look before a bounce):
//!
//! | TXT | cached | look-up | full check |
//! |---|---|---|---|
//! | found, id as cached | unexpired | nothing | fetch |
//! | found, other id | unexpired | fetch | fetch |
//! | found | expired, absent | fetch | fetch |
//! | no usable record, DNS failure | unexpired | nothing | fetch |
//! | no usable record, DNS failure | expired, absent | nothing | nothing (row A7-06) |
//!
//! What applies then, and what becomes of the cache ([`decide`]):
//!
//! | # | TXT | fetch | cached | applies | cache |
//! |---|---|---|---|---|---|
//! | 1 | found | not needed | unexpired | cached | kept |
//! | 2 | found | valid | any | fetched | replaced |
//! | 3 | found | failed | unexpired | cached, fallback told | kept |
//! | 4 | found | failed | expired, absent | nothing: as if no MTA-STS (section 3.3) | kept |
//! | 4a | found | owed | expired, absent | mail waits until it may be fetched | kept |
//! | 4b | found | failed for a fault of ours | expired, absent | mail waits until we can fetch | kept |
//! | 5 | no usable record | not needed | unexpired | cached, fallback told | kept |
//! | 6 | no usable record | valid | unexpired | fetched | replaced |
//! | 7 | no usable record | failed | unexpired | cached, fallback told | kept |
//! | 8 | no usable record | any | expired, absent | nothing | kept |
//! | 9 | DNS failure | not needed, failed | unexpired | cached, fallback told | kept |
//! | 10 | DNS failure | valid | unexpired | fetched | replaced |
//! | 11 | DNS failure | any | expired, absent | unknown: decision AMB-01 | kept |
//! | 11a | we could not ask | any | expired, absent | mail waits until we can | kept |
//!
//! A fetch is *owed* if nothing but our own limits on fetches stands against it, and the host answered the
//! last time with a policy that was to be enforced, or all that ended the last fetch was a fault of ours or
//! a clock that was doubted. Section 3.3 lets mail go where no policy "can be
//! fetched"; this one can be, if not now (decision AMB-06: it expires when it says, and the limits hold).
//!
//! Invariant: an unexpired policy is only ever replaced by a complete, valid HTTPS fetch. There is
//! no row in which DNS or a failed fetch removes, shortens or weakens it. ("Kept" for an expired
//! policy means that it stays on record for 90 days, so that first-contact trouble is judged more
//! strictly; it does not apply.)

use std::time::Duration;

use mail_types::DnsError;
use mta_sts::PolicyId;

use crate::discovery::{Fallback, NoPolicy, RecordTrouble};
use policy_fetch::FetchError;

/// What the TXT look-up gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Txt {
    Found(PolicyId),
    NoRecord(RecordTrouble),
    Failed(DnsError),
}

/// What is in the cache.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cached {
    Unexpired { id: Option<PolicyId> },
    Expired,
    Absent,
}

/// Why we look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Mail is to be delivered.
    Mail,
    /// Record and policy are checked in full.
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Need {
    Fetch,
    Nothing,
}

/// What came of the fetch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fetched {
    NotNeeded,
    Valid,
    Failed(FetchError),
    /// Not asked for because of our own limits; not before this monotonic time.
    Owed(Duration),
    /// Nothing was learnt, because something of ours failed: what.
    Local(FetchError),
    /// Nothing was learnt, because our own clock is wrong, or may be; not again before this monotonic time.
    Doubted(Duration, FetchError),
}

#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub(crate) enum Decision {
    /// The fetched policy applies and replaces what is cached.
    UseFetched,
    /// The cached policy applies and stays.
    UseCached(Option<Fallback>),
    /// No policy applies.
    NoPolicy(NoPolicy),
    /// A fetch is owed, and we do not ask for the policy before this monotonic time.
    Wait(Duration),
    /// The certificate was judged by a clock that is doubted; not before this monotonic time.
    Doubted(Duration, FetchError),
    /// Nothing is known and DNS does not answer.
    Unknown(DnsError),
    /// Nothing is known, because something of ours failed: what.
    Local(FetchError),
}

pub(crate) fn need(purpose: Purpose, txt: &Txt, cached: &Cached) -> Need {
    match (txt, cached, purpose) {
        (Txt::Found(id), Cached::Unexpired { id: Some(known) }, Purpose::Mail) if id == known => {
            Need::Nothing
        }
        (Txt::Found(_), _, _) | (_, Cached::Unexpired { .. }, Purpose::Check) => Need::Fetch,
        (Txt::NoRecord(_) | Txt::Failed(_), Cached::Unexpired { .. }, Purpose::Mail)
        | (Txt::NoRecord(_) | Txt::Failed(_), Cached::Expired | Cached::Absent, _) => Need::Nothing,
    }
}

pub(crate) fn decide(txt: Txt, fetched: Fetched, cached: &Cached) -> Decision {
    match (txt, fetched, cached) {
        (Txt::Found(_), Fetched::NotNeeded, Cached::Unexpired { .. }) => Decision::UseCached(None),
        (Txt::Found(_), Fetched::Valid, _)
        | (Txt::NoRecord(_) | Txt::Failed(_), Fetched::Valid, Cached::Unexpired { .. }) => {
            Decision::UseFetched
        }
        (Txt::Found(id), Fetched::Failed(cause), Cached::Unexpired { .. }) => {
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        }
        (Txt::Found(id), Fetched::Failed(cause), Cached::Expired | Cached::Absent) => {
            Decision::NoPolicy(NoPolicy::Fetch { id, cause })
        }
        (Txt::Found(_), Fetched::Owed(until), Cached::Expired | Cached::Absent) => {
            Decision::Wait(until)
        }
        (Txt::Found(_), Fetched::Doubted(until, cause), Cached::Expired | Cached::Absent) => {
            Decision::Doubted(until, cause)
        }
        (Txt::Found(_), Fetched::Local(what), Cached::Expired | Cached::Absent) => {
            Decision::Local(what)
        }
        (Txt::Found(id), Fetched::Local(cause), Cached::Unexpired { .. }) => {
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        }
        (Txt::Found(id), Fetched::Doubted(_, cause), Cached::Unexpired { .. }) => {
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        }
        (Txt::Found(id), Fetched::Owed(_), Cached::Unexpired { .. }) => {
            let cause = FetchError::RateLimited { after: None };
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        }
        // `need` never leaves it at that; if it did, nothing was fetched.
        (Txt::Found(_), Fetched::NotNeeded, Cached::Expired | Cached::Absent) => {
            Decision::Local(FetchError::Local("the policy was not fetched".into()))
        }
        (
            Txt::NoRecord(trouble),
            Fetched::NotNeeded
            | Fetched::Failed(_)
            | Fetched::Owed(_)
            | Fetched::Local(_)
            | Fetched::Doubted(..),
            Cached::Unexpired { .. },
        ) => Decision::UseCached(Some(Fallback::Record(trouble))),
        (Txt::NoRecord(trouble), _, Cached::Expired | Cached::Absent) => {
            Decision::NoPolicy(NoPolicy::Record(trouble))
        }
        (
            Txt::Failed(error),
            Fetched::NotNeeded
            | Fetched::Failed(_)
            | Fetched::Owed(_)
            | Fetched::Local(_)
            | Fetched::Doubted(..),
            Cached::Unexpired { .. },
        ) => Decision::UseCached(Some(Fallback::Dns(error))),
        (Txt::Failed(DnsError::Local(what)), _, Cached::Expired | Cached::Absent) => {
            Decision::Local(FetchError::Local(what))
        }
        (Txt::Failed(error), _, Cached::Expired | Cached::Absent) => Decision::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use mta_sts::NoRecord;

    use super::*;

    fn id(text: &str) -> PolicyId {
        PolicyId::parse(text).unwrap()
    }
    fn found(text: &str) -> Txt {
        Txt::Found(id(text))
    }
    fn unexpired() -> Cached {
        Cached::Unexpired { id: Some(id("a")) }
    }
    fn gone() -> [RecordTrouble; 4] {
        [
            RecordTrouble::NoSuchName,
            RecordTrouble::NameTooLong,
            RecordTrouble::NoRecord(NoRecord::Absent),
            RecordTrouble::NoRecord(NoRecord::Several(2)),
        ]
    }
    fn servfail() -> DnsError {
        DnsError::Temporary("SERVFAIL".into())
    }
    fn failed() -> Fetched {
        Fetched::Failed(FetchError::Oversize)
    }

    #[test]
    fn what_is_fetched() {
        let no = || Txt::NoRecord(RecordTrouble::NoSuchName);
        let dns = || Txt::Failed(servfail());
        for (txt, cached, mail, check, row) in [
            (found("a"), unexpired(), Need::Nothing, Need::Fetch, "A2-18"),
            (found("b"), unexpired(), Need::Fetch, Need::Fetch, "A2-19"),
            (
                found("1"),
                Cached::Unexpired { id: Some(id("9")) },
                Need::Fetch,
                Need::Fetch,
                "A2-19: smaller",
            ),
            (
                found("a"),
                Cached::Unexpired { id: None },
                Need::Fetch,
                Need::Fetch,
                "no id known",
            ),
            (
                found("a"),
                Cached::Expired,
                Need::Fetch,
                Need::Fetch,
                "A6-13",
            ),
            (
                found("a"),
                Cached::Absent,
                Need::Fetch,
                Need::Fetch,
                "A6-13",
            ),
            (
                no(),
                unexpired(),
                Need::Nothing,
                Need::Fetch,
                "A2-17, A4-18",
            ),
            (
                dns(),
                unexpired(),
                Need::Nothing,
                Need::Fetch,
                "A2-17, A4-18",
            ),
            (
                no(),
                Cached::Absent,
                Need::Nothing,
                Need::Nothing,
                "A2-16, A7-06",
            ),
            (no(), Cached::Expired, Need::Nothing, Need::Nothing, "A7-06"),
            (dns(), Cached::Absent, Need::Nothing, Need::Nothing, "A7-06"),
            (
                dns(),
                Cached::Expired,
                Need::Nothing,
                Need::Nothing,
                "A7-06",
            ),
        ] {
            assert_eq!(need(Purpose::Mail, &txt, &cached), mail, "mail, {row}");
            assert_eq!(need(Purpose::Check, &txt, &cached), check, "check, {row}");
        }
    }

    #[test]
    fn row_1_the_id_is_as_cached() {
        let got = decide(found("a"), Fetched::NotNeeded, &unexpired());
        assert_eq!(got, Decision::UseCached(None));
    }

    #[test]
    fn row_2_a_valid_fetch_replaces_anything() {
        for cached in [unexpired(), Cached::Expired, Cached::Absent] {
            assert_eq!(
                decide(found("b"), Fetched::Valid, &cached),
                Decision::UseFetched
            );
        }
    }

    #[test]
    fn row_3_a4_16_a_new_id_whose_fetch_fails_keeps_the_old_policy() {
        let got = decide(found("b"), failed(), &unexpired());
        let cause = FetchError::Oversize;
        assert_eq!(
            got,
            Decision::UseCached(Some(Fallback::Fetch { id: id("b"), cause }))
        );
    }

    #[test]
    fn row_4_a4_14_no_policy_obtainable() {
        for cached in [Cached::Expired, Cached::Absent] {
            let cause = FetchError::Oversize;
            let want = Decision::NoPolicy(NoPolicy::Fetch { id: id("b"), cause });
            assert_eq!(decide(found("b"), failed(), &cached), want);
        }
    }

    #[test]
    fn row_4a_a3_13_what_only_we_do_not_ask_for_is_waited_for() {
        let until = Duration::from_secs(60);
        for cached in [Cached::Expired, Cached::Absent] {
            let got = decide(found("b"), Fetched::Owed(until), &cached);
            assert_eq!(got, Decision::Wait(until));
        }
        let got = decide(found("b"), Fetched::Owed(until), &unexpired());
        let (id, cause) = (id("b"), FetchError::RateLimited { after: None });
        assert_eq!(
            got,
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        );
    }

    #[test]
    fn rows_4b_and_11a_h9_01_a_fault_of_ours_is_no_missing_policy() {
        let lack = || "this process has no file descriptor left".to_owned();
        let what = || FetchError::Local(lack());
        for cached in [Cached::Expired, Cached::Absent] {
            let got = decide(found("b"), Fetched::Local(what()), &cached);
            assert_eq!(got, Decision::Local(what()));
            let unasked = Txt::Failed(DnsError::Local(lack()));
            let got = decide(unasked, Fetched::NotNeeded, &cached);
            assert_eq!(got, Decision::Local(what()));
        }
        let got = decide(found("b"), Fetched::Local(what()), &unexpired());
        let (id, cause) = (id("b"), what());
        assert_eq!(
            got,
            Decision::UseCached(Some(Fallback::Fetch { id, cause }))
        );
    }

    #[test]
    fn rows_5_and_7_a2_17_a_missing_record_changes_nothing() {
        for trouble in gone() {
            for fetched in [Fetched::NotNeeded, failed()] {
                let got = decide(Txt::NoRecord(trouble), fetched, &unexpired());
                assert_eq!(got, Decision::UseCached(Some(Fallback::Record(trouble))));
            }
        }
    }

    #[test]
    fn rows_6_and_10_a4_18_a_refresh_needs_no_record() {
        let no = Txt::NoRecord(RecordTrouble::NoSuchName);
        assert_eq!(
            decide(no, Fetched::Valid, &unexpired()),
            Decision::UseFetched
        );
        let dns = Txt::Failed(servfail());
        assert_eq!(
            decide(dns, Fetched::Valid, &unexpired()),
            Decision::UseFetched
        );
    }

    #[test]
    fn row_8_a2_16_a7_06_without_a_record_nothing_new_is_taken() {
        for trouble in gone() {
            for cached in [Cached::Expired, Cached::Absent] {
                for fetched in [Fetched::NotNeeded, Fetched::Valid, failed()] {
                    let got = decide(Txt::NoRecord(trouble), fetched, &cached);
                    assert_eq!(got, Decision::NoPolicy(NoPolicy::Record(trouble)));
                }
            }
        }
    }

    #[test]
    fn row_9_h1_01_h1_02_dns_failure_changes_nothing() {
        for fetched in [Fetched::NotNeeded, failed()] {
            let got = decide(Txt::Failed(servfail()), fetched, &unexpired());
            assert_eq!(got, Decision::UseCached(Some(Fallback::Dns(servfail()))));
        }
    }

    #[test]
    fn row_11_h1_04_dns_failure_at_first_contact() {
        for cached in [Cached::Expired, Cached::Absent] {
            for fetched in [Fetched::NotNeeded, Fetched::Valid, failed()] {
                let got = decide(Txt::Failed(servfail()), fetched, &cached);
                assert_eq!(got, Decision::Unknown(servfail()));
            }
        }
    }
}
