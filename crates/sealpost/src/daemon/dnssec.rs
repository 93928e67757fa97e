//! The way to DNSSEC: looked at when the relay starts and from then on, and remembered once it has
//! worked (decision AMB-34).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attempt::Level;
use journal::{RealDisk, replace_file};
use resolver::{Absence, DnsResolver, Path as DnsPath, Silence};
use tokio::sync::watch;

use super::observe::Observer;

/// Whether it has ever worked with this data directory.
pub(crate) fn worked(data_dir: &Path) -> bool {
    memory(data_dir).exists()
}

/// Watches it for as long as the relay runs.
pub(crate) struct Watch {
    pub(crate) resolver: Arc<DnsResolver>,
    pub(crate) observer: Observer,
    pub(crate) data_dir: PathBuf,
}

impl Watch {
    /// Tells when no name server serves us and when one does again.
    async fn listen(&self) {
        let (resolver, observer) = (&self.resolver, &self.observer);
        let mut state = resolver.silence();
        loop {
            if state.wait_for(Option::is_some).await.is_err() {
                // The sender lives in our resolver.
                return std::future::pending().await;
            }
            // Each kind once: what is to be done about it differs.
            let mut told: Vec<Absence> = Vec::new();
            loop {
                let Some(silence) = state.borrow_and_update().clone() else {
                    break;
                };
                if !told.contains(&silence.how) {
                    told.push(silence.how);
                    let remedy = format!("mail that needs DNS waits; {}", silence.remedy());
                    let fields = [
                        ("reason", silence.why.as_str()),
                        ("remedy", remedy.as_str()),
                    ];
                    observer.process("dns.no-answer", Level::Warn, &fields);
                }
                tokio::time::sleep(SOON).await;
                resolver.knock().await;
            }
            observer.process("dns.answers", Level::Info, &[]);
        }
    }

    /// Ends never.
    pub(crate) async fn run(self) {
        tokio::join!(self.listen(), self.look(), self.follow());
    }

    /// Others write the system's list of name servers, and nobody says so to us.
    async fn follow(&self) {
        let mut told = None;
        loop {
            tokio::time::sleep(MINUTE).await;
            let resolver = Arc::clone(&self.resolver);
            let read = tokio::task::spawn_blocking(move || resolver.reread());
            // It fails only with the runtime.
            let Ok(read) = read.await else { continue };
            let failed = read.as_ref().err().map(ToString::to_string);
            // Once, and not while it is being written.
            let is_news = failed.is_none() || told == Some((failed.clone(), false));
            if is_news {
                tell_of_servers(&self.resolver, &self.observer, read);
            }
            told = match told {
                Some((before, was_told)) if before == failed => Some((failed, was_told || is_news)),
                _ => Some((failed, false)),
            };
        }
    }

    /// Looks, tells what changed, remembers success.
    async fn look(&self) {
        let mut path = self.resolver.path();
        let mut silence = self.resolver.silence();
        let mut told = None;
        let mut is_return = false;
        loop {
            silence.mark_unchanged();
            match is_return {
                true => self.resolver.look_at_path_rested().await,
                false => self.resolver.look_at_path().await,
            }
            let state = path.borrow_and_update().clone();
            // Once, even if the reason is put differently the next time.
            let kind = std::mem::discriminant(&state);
            if told.replace(kind) != Some(kind) {
                self.tell(&state);
            }
            let pause = match state {
                DnsPath::Carries => HOURLY,
                // Mail goes without DANE meanwhile.
                DnsPath::Unavailable(_) if self.resolver.path_may_pass() => SOON,
                DnsPath::Unavailable(_) => NOW_AND_THEN,
                DnsPath::Unknown(_) | DnsPath::Broken(_) | DnsPath::Bogus(_) => SOON,
                DnsPath::Off => return std::future::pending().await,
            };
            is_return = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                // A look-up has seen a change: tell it now. The sender lives in our resolver.
                _ = path.changed() => false,
                // Mail waits for this look.
                () = comes_back(&mut silence) => true,
            };
        }
    }

    fn tell(&self, state: &DnsPath) {
        let say = |event, level, fields: &[(&'static str, &str)]| {
            self.observer.process(event, level, fields);
        };
        match state {
            DnsPath::Off => say(
                "dane.unavailable",
                Level::Info,
                &[("reason", "dns.dnssec is off")],
            ),
            // Silence is told of by itself.
            DnsPath::Unknown(_) => {}
            DnsPath::Unavailable(why) => {
                say("dane.unavailable", Level::Warn, &[("reason", why)]);
            }
            DnsPath::Broken(why) => {
                let memory = memory(&self.data_dir);
                let remedy = format!(
                    "mail waits; mend the resolver, or, if DNSSEC is to be given up here, set \
                     dns.dnssec = \"off\", or remove {} and restart",
                    memory.display()
                );
                let fields = [("reason", why.as_str()), ("remedy", remedy.as_str())];
                say("dns.dnssec-lost", Level::Error, &fields);
            }
            DnsPath::Bogus(why) => {
                let fields = [("reason", why.as_str()), ("remedy", BOGUS_REMEDY)];
                say("dns.dnssec-bogus", Level::Error, &fields);
            }
            DnsPath::Carries => {
                say("dane.available", Level::Info, &[]);
                self.remember();
            }
        }
    }

    fn remember(&self) {
        if worked(&self.data_dir) {
            return;
        }
        if let Err(error) = replace_file(&RealDisk, &memory(&self.data_dir), TEXT.as_bytes()) {
            tracing::error!(%error, "that DNSSEC works here cannot be remembered: after a restart its loss would go unnoticed");
        }
    }
}

/// Reads the system's list of name servers anew, for whoever asks for it.
pub(crate) fn reread(resolver: &DnsResolver, observer: &Observer) {
    tell_of_servers(resolver, observer, resolver.reread());
}

fn tell_of_servers(
    resolver: &DnsResolver,
    observer: &Observer,
    read: Result<bool, resolver::BuildError>,
) {
    let servers = resolver.servers();
    match read {
        Ok(false) => {}
        Ok(true) => {
            let fields = [("servers", servers.as_str())];
            observer.process("dns.servers-changed", Level::Info, &fields);
        }
        Err(error) => {
            let reason = error.to_string();
            let fields = [("reason", reason.as_str()), ("servers", servers.as_str())];
            observer.process("dns.servers-kept", Level::Warn, &fields);
        }
    }
}

/// Ends when a name server has come back since the state was last looked at.
async fn comes_back(silence: &mut watch::Receiver<Option<Silence>>) {
    while silence.changed().await.is_ok() {
        if silence.borrow_and_update().is_none() {
            return;
        }
    }
    std::future::pending().await
}

fn memory(data_dir: &Path) -> PathBuf {
    data_dir.join("dnssec-works")
}

/// For keys that are signed and do not verify.
pub(crate) const BOGUS_REMEDY: &str = "mail waits; check that the clock is right, that the files of dns.trust-anchors hold the \
     current keys, and that nobody on the way to the servers of dns.servers changes their answers; if DNSSEC is to \
     be given up here, set dns.dnssec = \"off\"";
const TEXT: &str = "\
DNSSEC has reached this relay. While this file is here, a resolver that strips it is a fault: mail
waits rather than go out without DANE. Remove it only if DNSSEC is to be given up.
";
const MINUTE: Duration = Duration::from_secs(60);
const HOURLY: Duration = Duration::from_secs(3600);
/// A resolver that is about to start answers with errors, too.
const NOW_AND_THEN: Duration = Duration::from_secs(300);
/// While mail waits for it.
const SOON: Duration = Duration::from_secs(15);
