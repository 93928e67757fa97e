//! `sealpost check-config`: what the daemon would say, without starting it.

use std::path::Path;
use std::time::Duration;

use mail_types::Timestamp;
use resolver::{BuildError, DnsResolver, Path as DnsPath};
use settings::{Place, Problem, Settings, Severity, is_local_address, mail_loop_warning};
use tokio::time::timeout;

use crate::daemon::certificates::ending;
use crate::daemon::logins::{identities, nobodys};
use crate::daemon::open::{resolver_config, roots};
use crate::exit::Status;
use crate::output::Output;

/// Prints every problem; the status is 78 if there is an error.
pub(super) async fn run(config: Option<&Path>, json: bool) -> anyhow::Result<Status> {
    let sources = super::sources(config)?;
    let file = sources.file.as_ref().map(|(path, _)| path.clone());
    let problems = match settings::load(&sources) {
        Ok(loaded) => {
            let mut problems = loaded.warnings;
            problems.extend(users(&loaded.settings));
            problems.extend(one_user_twice(&loaded.settings));
            match DnsResolver::new(&resolver_config(&loaded.settings)) {
                Ok(resolver) => {
                    let settings = &loaded.settings;
                    let warning =
                        mail_loop_warning(settings, &resolver, is_local_address, PATIENCE).await;
                    problems.extend(warning);
                    problems.extend(dnssec(&resolver).await);
                }
                Err(error) => problems.push(no_resolver(&error)),
            }
            problems.extend(no_roots(&loaded.settings));
            problems.extend(certificates(&loaded.settings, sources.now));
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

/// What stands in the users file: the settings know only its name.
fn users(settings: &Settings) -> Vec<Problem> {
    let Some(file) = settings.logins.users_file.as_deref() else {
        return Vec::new();
    };
    match users::UsersFile::read(file) {
        Ok(users) => nobodys(settings, &users)
            .map(|(n, name)| Problem {
                severity: Severity::Warning,
                place: Place::Default,
                key: format!("identity[{n}]"),
                message: format!(
                    "nobody can be {name:?}: it has no certificates, and {} has no such user",
                    file.display()
                ),
                remedy: "name it as `sealpost user list` shows the user, add the user with \
                         `sealpost user add`, or name its certificates"
                    .to_owned(),
            })
            .collect(),
        Err(error) => vec![Problem {
            severity: Severity::Error,
            place: Place::Default,
            key: "access.users-file".to_owned(),
            message: error.to_string(),
            remedy: "mend or remove the line; `sealpost user add` writes them".to_owned(),
        }],
    }
}

/// Two identities whose names are one after SASLprep.
fn one_user_twice(settings: &Settings) -> Option<Problem> {
    let error = identities(settings).err()?;
    Some(Problem {
        severity: Severity::Error,
        place: Place::Default,
        key: "identity".to_owned(),
        message: error.to_string(),
        remedy: "make one entry of both".to_owned(),
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

/// Trust anchors that cannot be had, for instance since the system has none (row G5-09).
fn no_roots(settings: &Settings) -> Option<Problem> {
    let error = roots(settings).err()?;
    Some(Problem {
        severity: Severity::Error,
        place: Place::Default,
        key: "tls.roots".to_owned(),
        message: error.to_string(),
        remedy: String::new(),
    })
}

/// DANE is wanted and DNSSEC does not get here (row G5-09).
async fn dnssec(resolver: &DnsResolver) -> Option<Problem> {
    // What is not known by then has been said: nobody answered.
    let _ = timeout(PATIENCE, resolver.look_at_path()).await;
    let message = match &*resolver.path().borrow() {
        DnsPath::Off | DnsPath::Carries => return None,
        DnsPath::Unknown(why) => format!("no name server has answered: {why}"),
        DnsPath::Unavailable(why) => {
            format!("DNSSEC does not get here, so that there is no DANE: {why}")
        }
        DnsPath::Broken(why) => format!("DNSSEC is lost, and mail would wait: {why}"),
    };
    Some(Problem {
        severity: Severity::Warning,
        place: Place::Default,
        key: "dns.dnssec".to_owned(),
        message,
        remedy:
            "name resolvers in dns.servers that pass signatures on, or set dns.dnssec = \"off\""
                .to_owned(),
    })
}

/// The listeners' TLS as the daemon would make it, and which certificates end soon (row G1-06).
fn certificates(settings: &Settings, now: Timestamp) -> Vec<Problem> {
    let problem = |severity, key: String, message: String| Problem {
        severity,
        place: Place::Default,
        key,
        message,
        remedy: String::new(),
    };
    match ending(settings, now) {
        Ok(found) => found
            .into_iter()
            .map(|(listener, story)| {
                let key = format!("listener \"{listener}\"");
                problem(Severity::Warning, key, story)
            })
            .collect(),
        Err(error) => {
            let key = format!("listener[{}].certificate", error.index);
            vec![problem(Severity::Error, key, error.to_string())]
        }
    }
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|p| p.severity == severity).count()
}

const PATIENCE: Duration = Duration::from_secs(3);
