//! TLS reports: opened, run, and told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use attempt::Level;
use mail_types::Resolver;
use report_ports::{ReportLine, Reporting};
use settings::Settings;
use smtp_client::Roots;
use tls_reports::{Events, ReportEvent};

use super::observe::Observer;
use super::open::fail;
use crate::exit::Status;

/// Opens what is on disk, and has the observer count from now on.
pub(super) fn open(
    s: &Settings,
    resolver: Arc<dyn Resolver>,
    roots: &Roots,
    observer: &mut Observer,
) -> anyhow::Result<Reporting> {
    let opened = Reporting::open(s, resolver, roots, observer.now());
    let (reporting, troubles) = opened.map_err(|e| fail(Status::Io, &e))?;
    for trouble in troubles {
        let file = trouble.file.display().to_string();
        let fields = [("file", file.as_str()), ("detail", &trouble.detail)];
        observer.process("rpt.damaged", Level::Error, &fields);
    }
    observer.reports = Some(reporting.clone());
    Ok(reporting)
}

/// Whether NXDOMAIN is not believed now.
pub(super) fn doubted(observer: &Observer) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let counts = Arc::clone(&observer.counts);
    Arc::new(move || counts.dns_doubted.load(Ordering::Relaxed))
}

impl Events for Observer {
    fn report_event(&self, event: &ReportEvent) {
        let line = ReportLine(event);
        line.result()
            .into_iter()
            .for_each(|r| self.metrics.report(r));
        self.log.write(&line);
    }
}
