//! The listeners' certificates: read, replaced together or not at all, and watched for their end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use attempt::Level;
use mail_types::Timestamp;
use parking_lot::Mutex;
use settings::{KeyPair, Listener, Settings};
use smtp_server::{
    CertificateDates, KeyPairFiles, LoadedTls, NamedKeyPair, ServerTls, TlsFiles, TlsLoadError,
};

use super::observe::Observer;

/// TLS of all listeners that have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    listeners: Arc<Vec<(String, Arc<ServerTls>)>>,
    /// When which file was last told of, so that it is told once a day.
    told: Arc<Mutex<HashMap<PathBuf, Timestamp>>>,
}

/// Why a listener has no TLS.
#[derive(Debug)]
pub(crate) struct CertificateError {
    /// Its place in the configuration.
    pub(crate) index: usize,
    listener: String,
    problem: Box<TlsLoadError>,
}

impl std::fmt::Display for CertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "listener {:?}: {}", self.listener, self.problem)
    }
}

/// How near the end of a certificate is (row G1-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Remaining {
    /// More than 30 days.
    Long,
    /// 30 days or less.
    Month,
    /// A week or less.
    Week,
    /// A day or less.
    Day,
    /// None.
    Over,
}

impl Certificates {
    /// Reads those of all listeners.
    ///
    /// # Errors
    /// The first listener whose files cannot be used.
    pub(crate) fn open(settings: &Settings) -> Result<Self, CertificateError> {
        let read = read_all(settings)?;
        let made = read.into_iter().map(|(name, loaded)| {
            let tls = ServerTls::from(loaded);
            (name, Arc::new(tls))
        });
        Ok(Self {
            listeners: Arc::new(made.collect()),
            told: Arc::default(),
        })
    }

    /// That of a listener, if it has TLS.
    pub(crate) fn of(&self, listener: &str) -> Option<Arc<ServerTls>> {
        let found = self.listeners.iter().find(|(name, _)| name == listener);
        found.map(|(_, tls)| Arc::clone(tls))
    }

    /// Reads all files again; [`Certificates::replace`] puts them to use.
    ///
    /// # Errors
    /// As [`Certificates::open`]; then nothing has changed.
    pub(crate) fn read(&self, settings: &Settings) -> Result<Vec<(String, LoadedTls)>, String> {
        read_all(settings).map_err(|e| e.to_string())
    }

    /// New connections use these. Listeners that were not there at the start need a restart.
    pub(crate) fn replace(&self, loaded: Vec<(String, LoadedTls)>) {
        for (name, loaded) in loaded {
            if let Some(tls) = self.of(&name) {
                tls.replace(loaded);
            }
        }
    }

    /// Each listener's soonest end of a certificate.
    pub(crate) fn soonest(&self) -> Vec<(String, Timestamp)> {
        let soonest = |tls: &ServerTls| {
            let current = tls.current();
            current.certificates().iter().map(|c| c.not_after).min()
        };
        let all = self.listeners.iter();
        all.filter_map(|(name, tls)| Some((name.clone(), soonest(tls)?)))
            .collect()
    }

    /// Says once a day which certificates end soon. To be called more often than that.
    pub(crate) fn tell(&self, observer: &Observer) {
        let now = observer.clock.wall();
        for (listener, tls) in self.listeners.iter() {
            for dates in tls.current().certificates() {
                let level = match remaining(dates.not_after, now) {
                    Remaining::Long => {
                        self.told.lock().remove(&dates.file);
                        continue;
                    }
                    Remaining::Month => Level::Warn,
                    Remaining::Week | Remaining::Day | Remaining::Over => Level::Error,
                };
                if self.is_due(dates, now) {
                    let file = dates.file.display().to_string();
                    let end = dates.not_after.rfc3339();
                    let fields = [
                        ("listener", listener.as_str()),
                        ("file", file.as_str()),
                        ("not_after", end.as_str()),
                        ("detail", &story(dates, now)),
                    ];
                    observer.process("tls.certificate-expiring", level, &fields);
                }
            }
        }
    }

    fn is_due(&self, dates: &CertificateDates, now: Timestamp) -> bool {
        let mut told = self.told.lock();
        let due = told
            .get(&dates.file)
            .is_none_or(|last| now.since(*last).as_secs() >= DAY);
        if due {
            told.insert(dates.file.clone(), now);
        }
        due
    }
}

/// How near the end is.
pub(crate) fn remaining(not_after: Timestamp, now: Timestamp) -> Remaining {
    if not_after <= now {
        return Remaining::Over;
    }
    match not_after.since(now).as_secs() {
        left if left <= DAY => Remaining::Day,
        left if left <= WEEK => Remaining::Week,
        left if left <= MONTH => Remaining::Month,
        _ => Remaining::Long,
    }
}

/// What is wrong and what to do, in one sentence.
pub(crate) fn story(dates: &CertificateDates, now: Timestamp) -> String {
    let file = dates.file.display();
    let end = dates.not_after.rfc3339();
    match remaining(dates.not_after, now) {
        Remaining::Over => format!(
            "the certificate in {file} ended at {end}: clients that verify it send nothing; put a \
             new one there and reload"
        ),
        Remaining::Long | Remaining::Month | Remaining::Week | Remaining::Day => format!(
            "the certificate in {file} ends at {end}, in {} days: put a new one there and reload",
            dates.not_after.since(now).as_secs() / DAY
        ),
    }
}

/// Every certificate of the configuration that ends soon, for `check-config`.
///
/// # Errors
/// As [`Certificates::open`].
pub(crate) fn ending(
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<(String, String)>, CertificateError> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (listener, loaded) in read_all(settings)? {
        for dates in loaded.certificates() {
            let text = story(dates, now);
            match remaining(dates.not_after, now) {
                Remaining::Long => {}
                Remaining::Month | Remaining::Week | Remaining::Day | Remaining::Over => {
                    // A certificate by name is that of each listener: once is enough.
                    if found.iter().all(|(_, known)| *known != text) {
                        found.push((listener.clone(), text));
                    }
                }
            }
        }
    }
    Ok(found)
}

fn read_all(settings: &Settings) -> Result<Vec<(String, LoadedTls)>, CertificateError> {
    let mut all = Vec::new();
    for (index, listener) in settings.listeners.iter().enumerate() {
        let Some(files) = files(settings, listener) else {
            continue;
        };
        let loaded = ServerTls::read(&files).map_err(|problem| CertificateError {
            index,
            listener: listener.name.clone(),
            problem: Box::new(problem),
        })?;
        all.push((listener.name.clone(), loaded));
    }
    Ok(all)
}

fn files(settings: &Settings, listener: &Listener) -> Option<TlsFiles> {
    let named = settings.certificates.iter().map(|c| NamedKeyPair {
        server_names: c.server_names.iter().map(|n| n.as_str().into()).collect(),
        key_pair: pair(&c.key_pair),
    });
    Some(TlsFiles {
        key_pair: pair(listener.key_pair.as_ref()?),
        by_name: named.collect(),
        client_roots: listener.client_ca.clone(),
    })
}

fn pair(pair: &KeyPair) -> KeyPairFiles {
    KeyPairFiles {
        certificate: pair.certificate.clone(),
        private_key: pair.private_key.clone(),
    }
}

const DAY: u64 = 24 * 60 * 60;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g1_06_the_end_is_told_30_7_and_1_days_ahead() {
        let now = Timestamp::from_secs(1_772_366_400);
        let day = |n: u64| Timestamp::from_secs(now.as_secs() + n * DAY);
        for (end, want) in [
            (day(31), Remaining::Long),
            (day(30), Remaining::Month),
            (day(8), Remaining::Month),
            (day(7), Remaining::Week),
            (day(2), Remaining::Week),
            (day(1), Remaining::Day),
            (now, Remaining::Over),
            (Timestamp::from_secs(0), Remaining::Over),
        ] {
            assert_eq!(remaining(end, now), want, "{}", end.rfc3339());
        }
    }

    #[test]
    fn g1_06_once_a_day_for_each_file() {
        let certificates = Certificates::default();
        let dates = |file: &str| CertificateDates {
            file: file.into(),
            not_after: Timestamp::from_secs(DAY),
        };
        let at = Timestamp::from_secs;
        assert!(certificates.is_due(&dates("a"), at(0)));
        assert!(!certificates.is_due(&dates("a"), at(DAY - 1)));
        assert!(certificates.is_due(&dates("b"), at(DAY - 1)));
        assert!(certificates.is_due(&dates("a"), at(DAY)));
        assert!(!certificates.is_due(&dates("a"), at(DAY + 1)));
    }
}
