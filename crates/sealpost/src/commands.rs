//! The commands, each from its arguments to its exit status.

mod cert;
pub(crate) mod check;
mod check_config;
mod dkim;
mod man;
mod policy;
mod queue;
mod report;
pub(crate) mod sendmail;
mod status;
mod trace;
mod user;

use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use clap::CommandFactory as _;
use mail_types::Timestamp;
use settings::{ConfigError, Sources};
use tokio::runtime;

use crate::cli::{Cli, Command};
use crate::control_client::ControlClient;
use crate::exit::{Failure, Status};
use crate::{daemon, logging};
use terminal::Output;

/// Runs one command.
///
/// # Errors
/// What goes to standard error; [`crate::exit::report`] knows the status.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Status> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Serve {
            dangerous_lose_policies,
        } => {
            daemon::refuse_core_dumps();
            let loaded = settings::load(&sources(config)?)?;
            let set_level = logging::start(&loaded.settings.log.level)?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            for danger in settings::dangers(&loaded.settings) {
                tracing::warn!("{danger}");
            }
            let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
            let ended = runtime.block_on(daemon::run(loaded, set_level, dangerous_lose_policies));
            runtime.shutdown_background(); // A reload that hangs on a disk keeps nothing open.
            ended
        }
        Command::CheckConfig(json) => one_thread()?.block_on(check_config::run(config, json.json)),
        Command::Cert(command) => cert::run(config, command),
        Command::Check { domain, json } => {
            let loaded = settings::load(&sources(config)?)?;
            one_thread()?.block_on(check::run(&loaded.settings, &domain, json.json))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sealpost", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(Status::Ok)
        }
        Command::Man { directory } => man::run(directory.as_deref()),
        Command::Sendmail { arguments } => {
            let all = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            sendmail::run(config, crate::cli::behind_name(arguments, all))
        }
        Command::Dkim(command) => {
            let mut out = Output::stdout();
            dkim::run(&command, &mut out)?;
            out.flush()?;
            Ok(Status::Ok)
        }
        Command::User(command) => user::run(config, command),
        other => {
            let client = ControlClient::new(settings::control_socket(config)?);
            let mut out = Output::stdout();
            let status = one_thread()?.block_on(ask(&client, other, &mut out))?;
            out.flush()?;
            Ok(status)
        }
    }
}

/// The commands that talk to a running daemon.
async fn ask(client: &ControlClient, command: Command, out: &mut Output) -> anyhow::Result<Status> {
    match command {
        Command::Queue(command) => queue::run(client, command, out).await?,
        Command::Policy(command) => policy::run(client, command, out).await?,
        Command::Report(command) => report::run(client, command, out).await?,
        Command::Explain { subject, json } => {
            status::explain(client, &subject, json.json, out).await?;
        }
        Command::Clock(command) => status::clock(client, command, out).await?,
        Command::Status(json) => status::status(client, json.json, out).await?,
        Command::Reload(json) => status::reload(client, json.json, out)
            .await
            .map_err(as_configuration)?,
        Command::Trace(args) => trace::run(client, args, out).await?,
        Command::Serve { .. }
        | Command::CheckConfig(_)
        | Command::Check { .. }
        | Command::Cert(_)
        | Command::Completions { .. }
        | Command::Dkim(_)
        | Command::Man { .. }
        | Command::Sendmail { .. }
        | Command::User(_) => {}
    }
    Ok(Status::Ok)
}

fn sources(config: Option<&Path>) -> Result<Sources, ConfigError> {
    Sources::of_system(config, Timestamp::from_system(SystemTime::now()))
}

fn one_thread() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// What a reload refuses is the configuration: as `check-config` ends.
fn as_configuration(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) if failure.status == Status::Data => {
            Failure::new(Status::Configuration, failure.message).into()
        }
        Ok(failure) => failure.into(),
        Err(error) => error,
    }
}
