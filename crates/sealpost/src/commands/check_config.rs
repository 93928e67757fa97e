//! `sealpost check-config`: what the daemon would say, without starting it.

use std::path::Path;
use std::time::Duration;

use resolver::{BuildError, DnsResolver};
use settings::{Place, Problem, Severity, is_local_address, mail_loop_warning};

use crate::daemon::open::resolver_config;
use crate::exit::Status;
use crate::output::Output;

/// Prints every problem; the status is 78 if there is an error.
pub(super) async fn run(config: Option<&Path>, json: bool) -> anyhow::Result<Status> {
    let sources = super::sources(config)?;
    let file = sources.file.as_ref().map(|(path, _)| path.clone());
    let problems = match settings::load(&sources) {
        Ok(loaded) => {
            let mut problems = loaded.warnings;
            match DnsResolver::new(&resolver_config(&loaded.settings)) {
                Ok(resolver) => {
                    let settings = &loaded.settings;
                    let warning =
                        mail_loop_warning(settings, &resolver, is_local_address, PATIENCE).await;
                    problems.extend(warning);
                }
                Err(error) => problems.push(no_resolver(&error)),
            }
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

/// What the settings alone do not show: the servers come from `/etc/resolv.conf`.
fn no_resolver(error: &BuildError) -> Problem {
    Problem {
        severity: Severity::Error,
        place: Place::Default,
        key: match error {
            BuildError::TrustAnchor { .. } => "dns.trust-anchors",
            BuildError::System(_) | BuildError::NoServers | BuildError::NotLoopback(_) => {
                "dns.servers"
            }
        }
        .to_owned(),
        message: error.to_string(),
        remedy: String::new(),
    }
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|p| p.severity == severity).count()
}

const PATIENCE: Duration = Duration::from_secs(3);
