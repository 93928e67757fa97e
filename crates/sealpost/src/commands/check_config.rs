//! `sealpost check-config`: what the daemon would say, without starting it.

use std::path::Path;
use std::time::Duration;

use resolver::{Config, DnsResolver, Servers};
use settings::{DnsServers, Problem, Settings, Severity, is_local_address, mail_loop_warning};

use crate::exit::Status;
use crate::output::Output;

/// Prints every problem; the status is 78 if there is an error.
pub(super) async fn run(config: Option<&Path>, json: bool) -> anyhow::Result<Status> {
    let sources = super::sources(config)?;
    let file = sources.file.as_ref().map(|(path, _)| path.clone());
    let problems = match settings::load(&sources) {
        Ok(loaded) => {
            let mut problems = loaded.warnings;
            problems.extend(look_up_our_mx(&loaded.settings).await);
            problems
        }
        Err(error) => error.0,
    };
    let errors = count(&problems, Severity::Error);
    let mut out = Output::stdout();
    if json {
        for problem in &problems {
            out.json(&serde_json::to_value(problem)?)?;
        }
    } else {
        for problem in &problems {
            out.line(&problem.to_string())?;
        }
        let warnings = count(&problems, Severity::Warning);
        let name = file.map_or_else(String::new, |path| format!("{}: ", path.display()));
        out.line(&format!("{name}{errors} errors, {warnings} warnings"))?;
    }
    out.flush()?;
    Ok(if errors > 0 {
        Status::Configuration
    } else {
        Status::Ok
    })
}

/// Without an answer from DNS there is nothing to warn of.
async fn look_up_our_mx(settings: &Settings) -> Option<Problem> {
    let servers = match &settings.dns.servers {
        DnsServers::System => Servers::System,
        DnsServers::Addresses(servers) => Servers::List(servers.clone()),
    };
    let resolver = DnsResolver::new(&Config {
        servers,
        timeout: settings.dns.timeout,
        ..Config::default()
    });
    mail_loop_warning(settings, &resolver.ok()?, is_local_address, PATIENCE).await
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|p| p.severity == severity).count()
}

const PATIENCE: Duration = Duration::from_secs(3);
