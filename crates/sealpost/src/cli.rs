//! The command line.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use admin::Filter;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// A sending-side SMTP delivery agent that enforces MTA-STS.
#[derive(Clone, Debug, Parser)]
#[command(name = "sealpost", version, long_version = long_version(), max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file [default: /etc/sealpost/sealpost.toml, else config/sealpost.toml].
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the relay in the foreground; SIGTERM drains, SIGHUP reloads.
    Serve {
        /// Start although the stored policies cannot be read. Domains that enforced a policy are
        /// unprotected until it is fetched again.
        #[arg(long)]
        dangerous_lose_policies: bool,
    },
    /// Print every problem of the configuration; exit 78 if there is an error.
    CheckConfig(Json),
    /// Audit a domain live, without the daemon: its record, policy, mail hosts and what would
    /// become of mail; exit 1 if something is broken.
    Check {
        /// The recipient domain.
        domain: String,
        #[command(flatten)]
        json: Json,
    },
    /// The mail that waits.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// The policies of recipient domains.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Certificates of our own.
    #[command(subcommand)]
    Cert(CertCommand),
    /// The users who may log in at the listeners: changes access.users-file, without the daemon.
    #[command(subcommand)]
    User(UserCommand),
    /// Say in plain words what happens to a message or a domain, why, and who can do what.
    Explain {
        /// A queue id or a domain.
        #[arg(value_name = "ID|DOMAIN")]
        subject: String,
        #[command(flatten)]
        json: Json,
    },
    /// Show the time by which mail and policies run out, or say that the machine's clock is right.
    #[command(subcommand)]
    Clock(ClockCommand),
    /// One screen: listeners, queue, deliveries, policies, disk.
    Status(Json),
    /// Let the server read its configuration anew.
    Reload(Json),
    /// Write every dialogue with a domain or mail host, or about a message, into the log for a
    /// while. Without a name: list what is traced.
    Trace(TraceArgs),
    /// TLS reports (RFC 8460): what was counted for recipient domains, and what became of the reports.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands.
    Man {
        /// Write every page, as sealpost-COMMAND.1, into this directory.
        #[arg(long, value_name = "PATH")]
        directory: Option<PathBuf>,
    },
    /// Keys for DKIM signatures.
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Hand a message from standard input to the relay, with the flags of sendmail(1).
    #[command(disable_help_flag = true)]
    Sendmail {
        /// For instance: -t -i -f sender@example.org; --server ADDRESS:PORT names a listener.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "FLAGS"
        )]
        arguments: Vec<String>,
    },
}

/// What stands behind `sendmail` in the whole command line: clap takes a first `--` for its own, behind which nothing is
/// a flag of sendmail either.
pub(crate) fn behind_name(
    mut arguments: Vec<String>,
    all: impl Iterator<Item = String>,
) -> Vec<String> {
    let all: Vec<String> = all.collect();
    let before = all.len().checked_sub(arguments.len() + 1);
    if before
        .and_then(|at| all.get(at))
        .is_some_and(|last| last == "--")
    {
        arguments.insert(0, "--".to_owned());
    }
    arguments
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// Make a key, and print its DNS record and the lines for the configuration.
    Keygen {
        /// The domain that signs.
        #[arg(long)]
        domain: String,
        /// Under which name the record is published, for instance s2026.
        #[arg(long)]
        selector: String,
        /// Every receiver can verify RSA; Ed25519 stands beside it, with a selector of its own.
        #[arg(long = "type", value_enum, default_value = "rsa")]
        kind: DkimKeyType,
        /// Bits of an RSA key: 2048 (the default), 3072 or 4096.
        #[arg(long)]
        bits: Option<u16>,
        /// What the key signs: all mail, or TLS reports alone, for which receivers may ask (RFC 8460).
        #[arg(long, value_enum, default_value = "all")]
        service: DkimService,
        /// Where the private key is written, never over an existing file
        /// [default: SELECTOR._domainkey.DOMAIN.pem].
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DkimService {
    All,
    Tlsrpt,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum DkimKeyType {
    Rsa,
    Ed25519,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List messages, what is due first; mail of a suspended destination stands where it would be
    /// looked at by itself.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many.
        #[arg(long, value_name = "N", value_parser = some)]
        limit: Option<usize>,
        #[command(flatten)]
        json: Json,
    },
    /// Show a message: envelope, state of each recipient, every attempt.
    Show {
        /// Its queue id.
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Try messages now.
    Retry(Selection),
    /// Keep messages, but do not try them.
    Hold(Selection),
    /// Undo a hold.
    Release(Selection),
    /// Remove messages without telling their senders.
    Cancel(Selection),
    /// Return messages to their senders.
    Bounce(Selection),
    /// Keep back all mail for a domain, also what comes later, until it is resumed.
    Pause(Destination),
    /// Let a paused domain's mail go on.
    Resume(Destination),
    /// Count what waits by domain and reason, and list what is paused.
    Summary {
        /// At most so many lines, those with the most messages first.
        #[arg(long, value_name = "N", value_parser = some)]
        limit: Option<usize>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make a certificate for the hop from a Postfix of one's own, and print the lines that make
    /// Postfix trust it by its fingerprint.
    SelfSigned {
        /// The names that the certificate is for [default: server.hostname].
        #[arg(value_name = "HOSTNAME")]
        hostnames: Vec<String>,
        /// Where HOSTNAME.pem and HOSTNAME.key are written; what is there is never overwritten.
        #[arg(long, value_name = "PATH", default_value = ".")]
        directory: PathBuf,
        /// How long it is valid.
        #[arg(long, value_name = "DAYS", default_value_t = 3650,
            value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Show whether the clock is doubted since it has jumped.
    Show(Json),
    /// The clock is right: nothing is held any longer, and what has run out runs out.
    Accept {
        /// Why, for the audit log.
        #[arg(long, visible_alias = "reason", value_name = "TEXT")]
        because: Option<String>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// List stored policies.
    List(Json),
    /// Show the policy of a domain.
    Show(PolicyDomain),
    /// Fetch the policy of a domain now.
    Refresh(PolicyDomain),
    /// Forget the policy of a domain; refused while an enforced one has not expired.
    Forget {
        #[command(flatten)]
        domain: PolicyDomain,
        /// Forget an enforced policy too: the domain's mail is unprotected until it is fetched
        /// again.
        #[arg(long)]
        dangerous: bool,
    },
    /// Demand a verified certificate and one of these MX names of a domain, whatever it publishes.
    Pin {
        #[command(flatten)]
        domain: PolicyDomain,
        /// The MX names that are allowed, `*.` for one label.
        #[arg(long, value_name = "PATTERN", num_args = 1.., required_unless_present = "remove")]
        mx: Vec<String>,
        /// Remove the pin.
        #[arg(long, conflicts_with = "mx")]
        remove: bool,
        /// Why, for the audit log.
        #[arg(long = "reason", visible_alias = "because", value_name = "TEXT")]
        because: String,
    },
    /// Do not enforce the policy of a domain for a while, 90 days at most.
    Exempt {
        #[command(flatten)]
        domain: PolicyDomain,
        /// Needed: the domain's mail is unprotected for that time.
        #[arg(long, required_unless_present = "remove")]
        dangerous: bool,
        /// When it ends: a time span such as 7d, a day, or an RFC 3339 time.
        #[arg(long, value_name = "TIME", required_unless_present = "remove")]
        until: Option<String>,
        /// End the exemption now.
        #[arg(long, conflicts_with_all = ["until", "dangerous"])]
        remove: bool,
        /// Why, for the audit log.
        #[arg(long = "reason", visible_alias = "because", value_name = "TEXT")]
        because: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// List reports, those of the latest day first: what was counted, and what became of each.
    List {
        /// Of this day (UTC), for instance 2026-03-01.
        #[arg(long, value_name = "DAY", value_parser = day)]
        day: Option<String>,
        /// To this policy domain.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// In this state: collecting (its day is not over), pending, sent or dropped.
        #[arg(long, value_parser = admin::REPORT_STATES)]
        state: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Show the report to a domain as it was sent or would be, the latest unless a day is named.
    Show {
        /// The policy domain.
        domain: String,
        /// Of this day (UTC), for instance 2026-03-01.
        #[arg(long, value_name = "DAY", value_parser = day)]
        day: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Send pending reports of days that are over now, instead of some time within four hours after
    /// midnight (UTC) or at their next attempt.
    Send {
        /// To this policy domain; without it to all.
        domain: Option<String>,
        /// Of this day (UTC), for instance 2026-03-01.
        #[arg(long, value_name = "DAY", value_parser = day)]
        day: Option<String>,
        /// Why, for the audit log.
        #[arg(long, visible_alias = "reason", value_name = "TEXT")]
        because: Option<String>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or give one a new password.
    Add(UserAdd),
    /// Remove a user.
    Remove {
        /// Its name.
        name: String,
    },
    /// List the users.
    List(Json),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UserAdd {
    /// Its name: text without white space, often a mail address. Case counts.
    pub name: String,
    /// Take the password from the first line of this file. Without it the password is asked for, or
    /// read from standard input if that is no terminal.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Keep no keys for SCRAM-SHA-256, which are easier to guess at than Argon2id if the users file
    /// is stolen; the user can then log in by PLAIN only.
    #[arg(long)]
    pub no_scram: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PolicyDomain {
    /// The policy domain.
    pub domain: String,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArgs {
    /// A recipient domain, a mail host or a queue id.
    #[arg(value_name = "DOMAIN|MX|ID")]
    pub subject: Option<String>,
    /// For how long, a day at most.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = time_span)]
    pub span: Duration,
    /// End it now.
    #[arg(long, conflicts_with = "span")]
    pub end: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Destination {
    /// The recipient domain, or an address literal in brackets.
    pub domain: String,
    /// Why, for the audit log and whoever wonders.
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    pub because: Option<String>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON; lists as one object a line.
    #[arg(long)]
    pub json: bool,
}

/// Which messages to list.
#[derive(Clone, Debug, Args)]
pub(crate) struct FilterArgs {
    /// With a recipient in this domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// From this address, or from a domain: "@example.org"; "<>" for notifications.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// To this address, or to a domain: "@example.org".
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Whose last attempt ended for this reason, for instance cert-expired.
    #[arg(long, value_name = "KEY")]
    reason: Option<String>,
    /// For this side to act: us, recipient-admin, or wait for what usually passes by itself.
    #[arg(long, value_parser = ["us", "recipient-admin", "wait"])]
    side: Option<String>,
    /// In this state: queued, deferred, active or held.
    #[arg(long, value_parser = ["queued", "deferred", "active", "held"])]
    state: Option<String>,
    /// In the queue for longer than this, for instance 2h.
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    older: Option<Duration>,
    /// With more attempts than this.
    #[arg(long, value_name = "N")]
    attempts_over: Option<u32>,
}

/// Which messages to act on.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Queue ids: then no filter.
    #[arg(conflicts_with_all = ["domain", "sender", "recipient", "reason", "side", "state", "older", "attempts_over"])]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Every message.
    #[arg(long, conflicts_with_all = ["ids", "domain", "sender", "recipient", "reason", "side", "state", "older", "attempts_over"])]
    pub all: bool,
    /// Only count them.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask, however many they are.
    #[arg(long)]
    pub yes: bool,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    #[command(flatten)]
    pub json: Json,
}

impl FilterArgs {
    /// As the control API takes it.
    pub(crate) fn to_filter(&self) -> Filter {
        let sender = self.sender.as_deref();
        Filter {
            domain: self.domain.clone(),
            sender: sender.map(|s| {
                if s == "<>" {
                    String::new()
                } else {
                    s.to_owned()
                }
            }),
            recipient: self.recipient.clone(),
            reason: self.reason.clone(),
            side: self.side.clone(),
            state: self.state.clone(),
            older: self.older.map(|time| time.as_secs()),
            attempts_over: self.attempts_over,
        }
    }
}

fn some(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    let number = number.filter(|n| *n > 0);
    number.ok_or_else(|| "write a number, 1 at least".to_owned())
}

fn time_span(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a time span such as 90s, 5m, 4h or 5d".to_owned())
}

/// A day as it was written, once it is known to be one.
fn day(text: &str) -> Result<String, tls_rpt::DayError> {
    text.parse::<tls_rpt::Day>().map(|day| day.to_string())
}

/// For `--version`: a list of authorities grows old with the binary that it is built into.
fn long_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let roots = smtp_client::built_in_roots();
        format!(
            "{}\ntls.roots = [\"webpki\"]: {roots}",
            env!("CARGO_PKG_VERSION")
        )
    });
    &VERSION
}

#[cfg(test)]
mod tests;
