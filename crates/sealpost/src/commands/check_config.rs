//! `sealpost check-config`: what the daemon would say, without starting it.

mod named_files;

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use journal::{FreeSpace, free_space};
use mail_types::Timestamp;
use resolver::{BuildError, DnsResolver, Path as DnsPath, Silence};
use settings::{Place, Problem, Settings, Severity, Sources, is_local_address, mail_loop_warning};
use tokio::time::timeout;

use super::status::rounded;
use crate::daemon::certificates::ending;
use crate::daemon::logins::{identities, nobodys, without_scram};
use crate::daemon::open::{resolver_config, roots};
use crate::exit::Status;
use terminal::Output;
use terminal::Progress;

/// Prints every problem; the status is 78 if there is an error.
pub(super) async fn run(config: Option<&Path>, json: bool) -> anyhow::Result<Status> {
    let (file, problems) = match super::sources(config) {
        Ok(sources) => {
            let file = sources.file.as_ref().map(|(path, _)| path.clone());
            let asked = found(&sources);
            let doing = "asking the name servers";
            (file, Progress::new(json).during(doing, asked).await)
        }
        Err(error) => (config.map(Path::to_owned), error.0),
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

async fn found(sources: &Sources) -> Vec<Problem> {
    let loaded = match settings::load(sources) {
        Ok(loaded) => loaded,
        Err(error) => return error.0,
    };
    let settings = &loaded.settings;
    let mut problems = loaded.warnings;
    problems.extend(users(settings));
    problems.extend(one_user_twice(settings));
    match DnsResolver::new(&resolver_config(settings)) {
        Ok(resolver) => {
            let (to_us, path) = tokio::join!(
                mail_loop_warning(settings, &resolver, is_local_address, PATIENCE),
                dnssec(&resolver)
            );
            problems.extend(to_us.into_iter().chain(path));
        }
        Err(error) => problems.push(no_resolver(&error)),
    }
    problems.extend(no_roots(settings));
    problems.extend(elsewhere(&settings.egress.source_addresses));
    problems.extend(nowhere(settings));
    problems.extend(tokens(settings));
    problems.extend(no_room(settings));
    problems.extend(certificates(settings, sources.now));
    problems.extend(named_files::closed(settings));
    problems
}

/// What stands in the users file: the settings know only its name.
fn users(settings: &Settings) -> Vec<Problem> {
    let Some(file) = settings.logins.users_file.as_deref() else {
        return Vec::new();
    };
    let warning = |key: String, message: String, remedy: &str| Problem {
        severity: Severity::Warning,
        place: Place::Default,
        key,
        message,
        remedy: remedy.to_owned(),
    };
    let users = match users::UsersFile::read(file) {
        Ok(users) => users,
        Err(error) => {
            return vec![Problem {
                severity: Severity::Error,
                ..warning(
                    "access.users-file".to_owned(),
                    error.to_string(),
                    "mend or remove the line; `sealpost user add` writes them",
                )
            }];
        }
    };
    let mut problems = Vec::new();
    if users.users().next().is_none() {
        problems.push(warning(
            "access.users-file".to_owned(),
            format!(
                "nobody can log in with a password: {} has no users",
                file.display()
            ),
            "add them with `sealpost user add`",
        ));
    }
    problems.extend(nobodys(settings, &users).map(|(n, name)| {
        warning(
            format!("identity[{n}]"),
            format!(
                "nobody can be {name:?}: it has no certificates, and {} has no such user",
                file.display()
            ),
            "name it as `sealpost user list` shows the user, add the user with \
             `sealpost user add`, or name its certificates",
        )
    }));
    problems.extend(without_scram(settings, &users).map(|(n, name)| {
        warning(
            format!("identity[{n}].scram-only"),
            format!(
                "{name:?} cannot log in with a password: {} has nothing for SCRAM of this user",
                file.display()
            ),
            "give the user a password anew with `sealpost user add` and without --no-scram, or \
             take scram-only out",
        )
    }));
    problems
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
            BuildError::NameServers(_) => "dns.servers",
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

/// The data directory, or what it would be made in, has less room than mail is refused for.
fn no_room(settings: &Settings) -> Option<Problem> {
    let dir = &settings.server.data_dir;
    let space = dir.ancestors().find_map(|at| free_space(at).ok())?;
    little_room(dir, space, settings.queue.minimum_free_space)
}

fn little_room(dir: &Path, space: FreeSpace, minimum: u64) -> Option<Problem> {
    let (least, dir) = (rounded(minimum), dir.display());
    let (message, remedy) = if space.total_bytes <= minimum {
        (
            format!(
                "the file system of {dir} holds {} in all, and with less than {least} free no mail is accepted",
                rounded(space.total_bytes)
            ),
            "set queue.minimum-free-space to a part of that, or put server.data-dir on a larger file system",
        )
    } else if space.bytes < minimum {
        (
            format!(
                "the file system of {dir} has {} free, and with less than {least} no mail is accepted",
                rounded(space.bytes)
            ),
            "free space there, put server.data-dir elsewhere, or set queue.minimum-free-space lower",
        )
    } else {
        return None;
    };
    Some(Problem {
        severity: Severity::Warning,
        place: Place::Default,
        key: "queue.minimum-free-space".to_owned(),
        message,
        remedy: remedy.to_owned(),
    })
}

/// DANE is wanted and DNSSEC does not get here (row G5-09), or nobody serves us: who was not asked by that is asked.
async fn dnssec(resolver: &DnsResolver) -> Option<Problem> {
    let looked = timeout(PATIENCE, resolver.look_at_path()).await;
    let path = resolver.path().borrow().clone();
    if path == DnsPath::Off || looked.is_err() {
        let _ = timeout(PATIENCE * 2, resolver.knock()).await;
    }
    let message = match &path {
        DnsPath::Carries | DnsPath::Off => {
            return resolver.silence().borrow().as_ref().map(nobody);
        }
        DnsPath::Unknown(why) => {
            if let Some(silence) = &*resolver.silence().borrow() {
                return Some(nobody(silence));
            }
            let why = match looked {
                Ok(()) => why.clone(),
                Err(_elapsed) => format!("nothing has come from {} in time", resolver.servers()),
            };
            return Some(servers(
                format!("no name server has answered: {why}"),
                "check that the servers of dns.servers, or else of /etc/resolv.conf, run and answer this host",
            ));
        }
        DnsPath::Unavailable(why) => {
            format!("DNSSEC does not get here, so that there is no DANE: {why}")
        }
        DnsPath::Broken(why) => format!("DNSSEC is lost, and mail would wait: {why}"),
        DnsPath::Bogus(why) => {
            return Some(Problem {
                severity: Severity::Warning,
                place: Place::Default,
                key: "dns.trust-anchors".to_owned(),
                message: format!("DNSSEC cannot be validated: {why}"),
                remedy: crate::daemon::dnssec::BOGUS_REMEDY.to_owned(),
            });
        }
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

fn nobody(silence: &Silence) -> Problem {
    // It stands behind a colon.
    let mut text = silence.sentence();
    text.get_mut(..1).map(str::make_ascii_lowercase);
    servers(text, silence.remedy())
}

fn servers(message: String, remedy: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        place: Place::Default,
        key: "dns.servers".to_owned(),
        message,
        remedy: remedy.to_owned(),
    }
}

/// Whether this machine does not have the address.
fn is_elsewhere(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Addresses that the daemon could not listen on. They may come later, or systemd may open them.
fn nowhere(settings: &Settings) -> Vec<Problem> {
    let listeners = settings.listeners.iter().enumerate();
    let addresses = listeners.flat_map(|(n, l)| {
        l.addresses
            .iter()
            .map(move |a| (format!("listener[{n}].address"), *a))
    });
    let page = settings.admin.http.map(|a| ("admin.http".to_owned(), a));
    addresses
        .chain(page)
        .filter(|(_, address)| is_elsewhere(address.ip()))
        .map(|(key, address)| Problem {
            severity: Severity::Warning,
            place: Place::Default,
            key,
            message: format!(
                "{} is not an address of this machine now: the server does not start without it",
                address.ip()
            ),
            remedy: "name an address that `ip address` shows, or see that it is there first"
                .to_owned(),
        })
        .collect()
}

/// What stands in the token file: the settings know only its name.
fn tokens(settings: &Settings) -> Option<Problem> {
    let file = settings.admin.token_file.as_deref()?;
    let error = web::Tokens::load(file).err()?;
    Some(Problem {
        severity: Severity::Error,
        place: Place::Default,
        key: "admin.token-file".to_owned(),
        message: error.to_string().replace("admin.token-file ", ""),
        remedy: match error {
            web::TokenError::Line { .. } => "mend or remove the line",
            web::TokenError::Open { .. } => "chmod 0600 it",
            _ => "see that the server's user can read it, and run this command as that user",
        }
        .to_owned(),
    })
}

/// Source addresses that no connection can be made from: mail of their family would wait.
fn elsewhere(sources: &[IpAddr]) -> Vec<Problem> {
    let missing = sources.iter().filter(|address| is_elsewhere(**address));
    missing
        .map(|address| Problem {
            severity: Severity::Warning,
            place: Place::Default,
            key: "egress.source-addresses".to_owned(),
            message: format!("{address} is not an address of this machine: no mail leaves from it"),
            remedy: "name addresses that `ip address` shows, or leave the list out".to_owned(),
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_that_this_machine_does_not_have_are_warned_of() {
        let sources = ["127.0.0.1", "192.0.2.1"].map(|text| text.parse().unwrap());
        let problems = elsewhere(&sources);
        let [problem] = &problems[..] else {
            panic!("{problems:?}")
        };
        assert!(problem.message.starts_with("192.0.2.1 is not"), "{problem}");
    }

    fn asking(server: std::net::SocketAddr, dnssec: resolver::Dnssec) -> DnsResolver {
        let config = resolver::Config {
            servers: resolver::Servers::List(vec![server]),
            dnssec,
            dnssec_worked: true,
            ..resolver::Config::default()
        };
        DnsResolver::new(&config).unwrap()
    }

    /// Without DNSSEC nothing but this look would ask them; where it has worked once, nothing else would tell.
    #[tokio::test]
    async fn h1_02_name_servers_that_do_not_answer_are_told_whatever_dnssec_is() {
        // An address that no other test uses: nobody takes the port meanwhile.
        let free = UdpSocket::bind("127.0.0.78:0").unwrap();
        let closed = free.local_addr().unwrap();
        drop(free);
        for how in [resolver::Dnssec::Off, resolver::Dnssec::TrustAd] {
            let problem = dnssec(&asking(closed, how)).await.unwrap();
            assert_eq!(problem.key, "dns.servers");
            assert!(problem.message.contains("127.0.0.78"), "{problem}");
        }
    }

    #[tokio::test]
    async fn h1_02_name_servers_that_refuse_us_are_told_where_dnssec_has_worked() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = asking(server.local_addr().unwrap(), resolver::Dnssec::TrustAd);
        let refuse = async {
            let mut octets = [0; 512];
            loop {
                let (n, from) = server.recv_from(&mut octets).await.unwrap();
                // The question becomes its own reply.
                octets[2] |= 0x80;
                octets[3] = 5;
                server.send_to(&octets[..n], from).await.unwrap();
            }
        };
        let problem = tokio::select! {
            never = refuse => never,
            problem = dnssec(&resolver) => problem.unwrap(),
        };
        assert_eq!(problem.key, "dns.servers");
        assert!(problem.message.contains("REFUSED"), "{problem}");
    }

    #[test]
    fn g5_05_a_file_system_without_room_for_mail_is_told_with_both_figures() {
        let said = |bytes, total_bytes| {
            let space = FreeSpace {
                bytes,
                total_bytes,
                inodes: None,
            };
            let problem = little_room(Path::new("/data"), space, 256 << 20)?;
            assert_eq!(problem.severity, Severity::Warning);
            Some(format!("{}; {}", problem.message, problem.remedy))
        };
        let small = said(90 << 20, 100 << 20).unwrap();
        assert!(
            small.contains("/data holds 100.0 MiB in all, and with less than 256.0 MiB"),
            "{small}"
        );
        assert!(small.contains("larger file system"), "{small}");
        let full = said(90 << 20, 1 << 40).unwrap();
        assert!(
            full.contains("/data has 90.0 MiB free, and with less than 256.0 MiB"),
            "{full}"
        );
        assert!(full.contains("free space there"), "{full}");
        assert_eq!(said(256 << 20, 1 << 40), None);
    }
}
