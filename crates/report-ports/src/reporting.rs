//! The reports of a process, with what its configuration says of them.

use std::sync::Arc;

use delivery::Delivery;
use mail_types::{Resolver, Timestamp};
use outbound_queue::{Now, QueueStore};
use policy_cache::{Clock, PolicyEvent};
use settings::Settings;
use smtp_client::Roots;
use tls_reports::{Addresses, BoxError, Events, HttpsPost, Options, Ports, Reports, Trouble};
use tls_rpt::Identity;
use tokio::task::JoinHandle;

use crate::fetches::failed_fetch;
use crate::mail::{QueueMail, Signers};

/// Cloning shares.
#[derive(Clone)]
pub struct Reporting {
    /// What is counted, and what becomes of it.
    pub reports: Arc<Reports>,
    post: Arc<HttpsPost>,
    signers: Signers,
    resolver: Arc<dyn Resolver>,
}

/// What a configuration says, with its keys read.
pub struct Terms {
    options: Options,
    allow: Vec<ipnet::IpNet>,
    signers: Vec<dkim::Signer>,
}

impl Terms {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key cannot be used.
    pub fn read(s: &Settings) -> Result<Self, String> {
        let reporting = &s.reporting;
        let contact = reporting.contact_info.clone();
        let identity = contact.filter(|_| reporting.enabled);
        let identity = identity.map(|contact_info| Identity {
            organization_name: reporting.organization_name.clone(),
            contact_info,
            gzip: reporting.gzip,
        });
        let signers = match identity {
            Some(_) => s.report_signers()?,
            None => Vec::new(),
        };
        Ok(Self {
            options: Options {
                identity,
                by_mail: !signers.is_empty(),
                addresses: Addresses {
                    sources: s.egress.source_addresses.clone(),
                    public: s.egress.public_addresses.clone(),
                },
            },
            allow: reporting.allow_special_use.clone(),
            signers,
        })
    }
}

impl Reporting {
    /// Opens what is on disk. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or a key of the configuration cannot be used.
    pub fn open(
        s: &Settings,
        resolver: Arc<dyn Resolver>,
        roots: &Roots,
        now: Timestamp,
    ) -> Result<(Self, Vec<Trouble>), BoxError> {
        let terms = Terms::read(s)?;
        let directory = s.server.data_dir.join("reports");
        let (reports, troubles) = Reports::open(&directory, terms.options, now)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?;
        let roots = roots.clone();
        // For each report anew, so that a reload of the trust anchors reaches the next one.
        let tls = move || {
            let store = Arc::clone(roots.current().store());
            versions
                .clone()
                .with_root_certificates(store)
                .with_no_client_auth()
        };
        let post = HttpsPost::new(Arc::clone(&resolver), Arc::new(tls), terms.allow)?;
        let reporting = Self {
            reports,
            post: Arc::new(post),
            signers: Arc::new(arc_swap::ArcSwap::from_pointee(terms.signers)),
            resolver,
        };
        Ok((reporting, troubles))
    }

    /// Counts a fetch of a policy that failed.
    pub fn policy_event(&self, event: &PolicyEvent) {
        if let Some(finding) = failed_fetch(event, || self.resolver.fault().is_some()) {
            self.reports.note(&finding);
        }
    }

    /// Another configuration counts from now on.
    pub fn replace(&self, terms: Terms) {
        self.post.allow(terms.allow);
        self.signers.store(Arc::new(terms.signers));
        self.reports.reconfigure(terms.options);
    }

    /// Counts are written and reports sent until `stop`.
    pub fn start<S: QueueStore>(
        &self,
        queue: &Arc<S>,
        delivery: Option<Delivery<S>>,
        events: Arc<dyn Events>,
        clock: Arc<dyn Clock>,
        doubted: Arc<dyn Fn() -> bool + Send + Sync>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let ports = self.ports(Arc::clone(queue), delivery, events, clock, doubted);
        tokio::spawn(Arc::clone(&self.reports).run(ports, stop))
    }

    /// The ways out. Without delivery reports by mail wait in the queue.
    fn ports<S: QueueStore>(
        &self,
        queue: Arc<S>,
        delivery: Option<Delivery<S>>,
        events: Arc<dyn Events>,
        clock: Arc<dyn Clock>,
        doubted: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Ports {
        let unhurried = Arc::clone(&clock);
        // The engine's time, so that queue and engine agree while a clock jump is being held.
        let now = move || {
            let by_clock = || Now {
                wall: unhurried.wall(),
                monotonic: unhurried.monotonic(),
            };
            delivery.as_ref().map_or_else(by_clock, Delivery::now)
        };
        let mail = QueueMail {
            queue,
            signers: Arc::clone(&self.signers),
            now: Arc::new(now),
        };
        Ports {
            resolver: Arc::clone(&self.resolver),
            post: Arc::clone(&self.post) as _,
            mail: Arc::new(mail),
            events,
            clock,
            doubted,
        }
    }
}
