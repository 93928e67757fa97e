//! Looks that are under way: whoever wants the same joins, so that many first contacts cost one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail_types::{DnsError, Domain};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cache::{FreshLook, Inner, PolicyCache};
use crate::decide::Purpose;
use crate::discovery::{Applied, Origin, Outcome, Waiting};
use crate::lookup::Trigger;

/// All of them, by domain and purpose.
pub(crate) type Flights = Mutex<HashMap<(Domain, Purpose), Flight>>;

/// A look that is under way; it ends by a value, or by the sender being dropped.
#[derive(Clone)]
pub(crate) struct Flight {
    /// Who began it.
    trigger: Trigger,
    landing: watch::Receiver<Option<FreshLook>>,
}

enum Boarding {
    Aboard(Flight),
    Landed(FreshLook),
}

impl PolicyCache {
    /// Joins the look that is under way for this purpose, or begins one.
    pub(crate) async fn fly(&self, domain: &Domain, trigger: Trigger) -> FreshLook {
        self.flown(domain, trigger).await.0
    }

    /// As [`PolicyCache::fly`], with who began the look.
    pub(crate) async fn flown(&self, domain: &Domain, trigger: Trigger) -> (FreshLook, Trigger) {
        let mut flight = match self.board(domain, trigger) {
            Boarding::Landed(look) => return (look, trigger),
            Boarding::Aboard(flight) => flight,
        };
        let landed = match flight.landing.wait_for(Option::is_some).await {
            Ok(look) => look.clone(),
            Err(_) => None,
        };
        let look = landed.unwrap_or_else(|| self.inner.crashed(domain));
        (look, flight.trigger)
    }

    fn board(&self, domain: &Domain, trigger: Trigger) -> Boarding {
        let key = (domain.clone(), trigger.purpose());
        let mut flights = self.inner.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return Boarding::Aboard(flight.clone());
        }
        // A full check answers for mail as well: one GET less. The daily refresh may wait for its
        // turn, and mail does not wait with it.
        let for_mail = trigger.purpose() == Purpose::Mail;
        if for_mail
            && let Some(check) = flights.get(&(key.0.clone(), Purpose::Check))
            && check.trigger != Trigger::Refresh
        {
            return Boarding::Aboard(check.clone());
        }
        // The flight may have landed since the caller looked into memory.
        if for_mail && let Some(discovery) = self.cached(domain) {
            return Boarding::Landed(FreshLook {
                discovery,
                confirmed: false,
            });
        }
        let (sender, landing) = watch::channel(None);
        let flight = Flight { trigger, landing };
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            // Also when the look panics: the next caller begins anew.
            let landing = Landing { inner: &inner, key };
            let look = inner.look(&landing.key.0, trigger).await;
            drop(landing);
            let _ = sender.send(Some(look));
        });
        Boarding::Aboard(flight)
    }
}

/// Takes a flight off the list when it ends.
struct Landing<'a> {
    inner: &'a Inner,
    key: (Domain, Purpose),
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.inner.flights.lock().remove(&self.key);
    }
}

impl Inner {
    /// A look panicked. What is in force stays in force; if nothing is, the mail waits.
    fn crashed(&self, domain: &Domain) -> FreshLook {
        let (now, mono) = self.clocks();
        let known = {
            let book = self.book.read();
            book.entries
                .get(domain)
                .and_then(|e| e.unexpired(now).cloned())
        };
        let outcome = match known {
            Some(policy) => Outcome::Policy(Applied {
                policy,
                from: Origin::Cache,
                fallback: None,
            }),
            None => Outcome::Wait {
                until: now + Duration::from_mins(5),
                why: Waiting::Dns {
                    since: now,
                    last: now,
                    failures: 0,
                    cause: DnsError::Temporary("the look-up ended unexpectedly".into()),
                },
            },
        };
        FreshLook {
            discovery: self.discovery(domain, outcome, false, mono, now, mono),
            confirmed: false,
        }
    }
}
