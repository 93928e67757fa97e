//! TLS reports: opened, run, and told.

use std::future::Future;
use std::sync::Arc;

use attempt::Level;
use delivery::Delivery;
use mail_types::Resolver;
use outbound_queue::QueueStore;
use report_ports::{ReportLine, Reporting};
use settings::Settings;
use smtp_client::Roots;
use tls_reports::{Events, ReportEvent};
use tokio::task::JoinHandle;

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

/// Counts are written and reports sent until `stop`.
pub(super) fn start<S: QueueStore>(
    reporting: &Reporting,
    queue: &Arc<S>,
    delivery: Option<Delivery<S>>,
    observer: &Observer,
    stop: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let events = Arc::new(observer.clone());
    let clock = Arc::clone(&observer.judged) as _;
    let ports = reporting.ports(Arc::clone(queue), delivery, events, clock);
    tokio::spawn(Arc::clone(&reporting.reports).run(ports, stop))
}

impl Events for Observer {
    fn report_event(&self, event: &ReportEvent) {
        let line = ReportLine(event);
        if let Some(result) = line.result() {
            self.metrics.report(result);
        }
        self.log.write(&line);
    }
}
