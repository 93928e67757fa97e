//! `sealpost sendmail`, and this program under the name `sendmail`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::SystemTime;

use mail_types::Timestamp;
use sendmail::{Exit, Message, Mode, Options, Site};
use settings::{ListenerRole, ListenerTls, Settings};

use crate::exit::{Failure, Status};

/// Runs it with what stands behind the name.
pub(crate) fn run(config: Option<&Path>, arguments: Vec<String>) -> anyhow::Result<Status> {
    let options = Options::parse(arguments).map_err(failure)?;
    let config = options.config.as_deref().map(Path::new).or(config);
    let (settings, server) = match &options.server {
        Some(server) => (settings::visible_values(config)?, named(server)?),
        None => {
            let settings = settings::values(config)?;
            let server = first_listener(&settings)?;
            (settings, server)
        }
    };
    let hostname = settings.server.hostname;
    if options.mode == Mode::Smtp {
        let passed = sendmail::pass_through(server, std::io::stdin(), &mut std::io::stdout());
        return passed.map(|()| Status::Ok).map_err(failure);
    }
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).map_err(|e| {
        let text = format!("the message could not be read to its end, and nothing was sent: {e}");
        Failure::new(Status::Io, text)
    })?;
    if input.is_empty() && was_closed() {
        let text =
            "standard input is closed, or is /dev/null: there is no message, and nothing was sent";
        return Err(Failure::new(Status::Io, text).into());
    }
    let site = Site {
        login: login(),
        now: Timestamp::from_system(SystemTime::now()),
        unique: unique()?,
        hostname: hostname.clone(),
    };
    let message = Message::new(&options, &input, &site).map_err(failure)?;
    let taken = sendmail::hand_over(&message, server, hostname.as_str()).map_err(failure)?;
    if options.verbose {
        writeln!(std::io::stdout(), "{}", taken.reply)?;
    }
    Ok(Status::Ok)
}

/// Whether standard input was closed when the program began: then it is /dev/null, open for writing too,
/// which no shell and no service manager gives as input. (Some programs do: they have no message either.)
fn was_closed() -> bool {
    let stdin = std::io::stdin();
    let is_null = || {
        let here = rustix::fs::fstat(&stdin).ok()?;
        let null = rustix::fs::stat("/dev/null").ok()?;
        Some((here.st_rdev, here.st_ino, here.st_dev) == (null.st_rdev, null.st_ino, null.st_dev))
    };
    let flags = rustix::fs::fcntl_getfl(&stdin);
    flags.is_ok_and(|flags| flags.contains(rustix::fs::OFlags::RDWR)) && is_null().unwrap_or(false)
}

/// The first listener that takes mail of this host without a login and without TLS.
fn first_listener(settings: &Settings) -> Result<SocketAddr, Failure> {
    let listeners = settings.listeners.iter().filter(|l| {
        matches!(l.role, ListenerRole::Relay)
            && matches!(l.tls, ListenerTls::Off | ListenerTls::Optional)
    });
    let mut addresses = listeners.flat_map(|l| &l.addresses).filter_map(|address| {
        let ip = match address.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, address.port()))
    });
    addresses.next().ok_or_else(|| {
        Failure::new(
            Status::Configuration,
            "no relay listener is on loopback without TLS: add one, or name a listener with --server",
        )
    })
}

fn named(server: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: &str| Failure::new(Status::Usage, format!("--server {server:?}: {why}"));
    let mut found = server
        .to_socket_addrs()
        .map_err(|e| wrong(&e.to_string()))?;
    found.next().ok_or_else(|| wrong("no address"))
}

/// The caller's name as the system has it; the environment could say anything.
fn login() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    entry.unwrap_or_else(|| format!("uid{uid}"))
}

fn unique() -> Result<String, Failure> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::new(Status::Software, format!("no random numbers: {e}")))?;
    Ok(data_encoding::HEXLOWER.encode(&random))
}

fn failure(failure: sendmail::Failure) -> anyhow::Error {
    let status = match failure.exit {
        Exit::Usage => Status::Usage,
        Exit::Data => Status::Data,
        Exit::NoHost => Status::NoHost,
        Exit::Unavailable => Status::Unavailable,
        Exit::Io => Status::Io,
        Exit::Temporary => Status::Temporary,
    };
    Failure::new(status, failure.message).into()
}
