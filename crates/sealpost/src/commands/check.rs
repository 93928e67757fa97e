//! `sealpost check`: a live audit of a domain, with the configuration and without the daemon, which is
//! only asked what it knew before.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use admin::PolicyDetail;
use audit::{
    Auditor, DnsFault, Finding, Group, HostView, KnownPolicy, MailHosts, Report, Severity,
    VerdictView,
};
use mail_types::{Domain, Resolver};
use policy_cache::{Clock, SystemClock};
use resolver::{Absence, DnsResolver};
use settings::Settings;
use smtp_client::{Connector, Timeouts};

use crate::control_client::{ControlClient, segment, typed};
use crate::daemon::{open, signing, translate};
use crate::exit::{Failure, Status};
use terminal::Progress;
use terminal::{Mark, Output};

/// Audits and prints; the status is 1 if something is broken.
pub(super) async fn run(settings: &Settings, domain: &str, json: bool) -> anyhow::Result<Status> {
    let domain = parse(domain)?;
    let auditor = auditor(settings)?;
    let audit = async {
        let known = known(settings, &domain).await;
        auditor.check(&domain, known).await
    };
    let doing = format!("looking at {domain}");
    let mut progress = Progress::new(json);
    let report = progress.during(&doing, audit).await;
    drop(progress);
    let mut out = Output::stdout();
    if json {
        out.json(&serde_json::to_value(report.view())?)?;
    } else {
        print(&report, &mut out)?;
    }
    out.flush()?;
    Ok(match report.is_good() {
        true => Status::Ok,
        false => Status::Found,
    })
}

fn parse(text: &str) -> Result<Domain, Failure> {
    let domain = Domain::parse(text).map_err(|error| {
        Failure::new(
            Status::Usage,
            format!("{} is no domain: {error}", admin::quoted(text)),
        )
    })?;
    if !domain.is_fully_qualified() {
        let message = format!("\"{text}\" is not fully qualified: write the whole domain name");
        return Err(Failure::new(Status::Usage, message));
    }
    Ok(domain)
}

/// What the daemon has stored of the domain, if one runs that we may ask and it has anything.
async fn known(settings: &Settings, domain: &Domain) -> Option<KnownPolicy> {
    let client = ControlClient::new(settings.admin.socket.clone());
    let path = format!("/v1/policies/{}", segment(domain.as_str()));
    let asked = tokio::time::timeout(STEP, client.get(&path, &[])).await;
    let detail = typed::<PolicyDetail>(&asked.ok()?.ok()?).ok()?;
    Some(KnownPolicy {
        id: detail.policy.id?,
        text: detail.text?,
        fetched: detail.policy.fetched?,
    })
}

/// The daemon's own parts, with time limits for somebody who waits.
pub(crate) fn auditor(settings: &Settings) -> anyhow::Result<Auditor> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let roots = open::roots(settings)?;
    let dns = open::resolver(settings)?;
    let resolver: Arc<dyn Resolver> = Arc::<DnsResolver>::clone(&dns);
    let mut config = translate::connector(settings, open::client_clock(&clock), None);
    let t = config.timeouts;
    config.timeouts = Timeouts {
        connect: t.connect.min(STEP),
        banner: t.banner.min(STEP * 2),
        ehlo: t.ehlo.min(STEP),
        starttls: t.starttls.min(STEP),
        handshake: t.handshake.min(STEP),
        quit: t.quit.min(Duration::from_secs(2)),
        ..t
    };
    Ok(Auditor {
        fetcher: Arc::new(open::fetcher(settings, &resolver, &roots)?),
        resolver,
        fault: Box::new(move || {
            let silence = dns.silence().borrow().clone();
            let silent = silence.map(|silence| match silence.how {
                Absence::Silent => DnsFault::Silent(silence.why),
                Absence::Refuses => DnsFault::Refused(silence.why),
                _ => DnsFault::Absent(silence.why),
            });
            silent.or_else(|| dns.barred().map(DnsFault::Barred))
        }),
        connector: Connector::new(config, roots),
        settings: translate::delivery(settings, &signing::none())?,
        clock: open::client_clock(&clock),
        fetch_limit: settings.policy_cache.fetch_timeout.min(STEP * 4),
        limit: LIMIT,
    })
}

fn print(report: &Report, out: &mut Output) -> io::Result<()> {
    out.heading(report.facts.domain.as_str())?;
    section(report, out, "Record", Group::Record)?;
    section(report, out, "Policy", Group::Policy)?;
    section(report, out, "MX", Group::Mx)?;
    for host in report.hosts_view() {
        print_host(report, &host, out)?;
    }
    section(report, out, "Reporting", Group::Reporting)?;
    section(report, out, "DNSSEC", Group::Dnssec)?;
    out.line("")?;
    out.heading("Verdict")?;
    let verdict = report.outcome.view();
    let mark = match (verdict.tls.is_some(), report.is_good()) {
        (true, true) => Mark::Good,
        (true, false) => Mark::Warning,
        (false, _) => Mark::Error,
    };
    if let Some(hop) = &report.facts.routed_to {
        let text = format!(
            "a route takes mail for {} from here to {hop}, which was not checked; without the route it would go by the verdict below",
            report.facts.domain
        );
        out.marked(Mark::Warning, &text)?;
    }
    out.marked(mark, &format!("mail would be: {}", in_words(&verdict)))?;
    let spared = "by what is published and configured; what an operator has ordered of a running relay (pins, exemptions) \
                  is in `sealpost policy show`";
    out.marked(Mark::Nothing, spared)?;
    match (&report.facts.mail, verdict.tls.is_some()) {
        (MailHosts::Hosts { .. }, true) if !report.is_good() => out.marked(
            Mark::Nothing,
            "but something is broken, see the errors above",
        ),
        _ => Ok(()),
    }
}

fn section(report: &Report, out: &mut Output, title: &str, group: Group) -> io::Result<()> {
    let mut findings = report.group(group).peekable();
    if findings.peek().is_none() {
        return Ok(());
    }
    out.line("")?;
    out.heading(title)?;
    findings.try_for_each(|finding| print_finding(finding, out))
}

fn print_host(report: &Report, host: &HostView, out: &mut Output) -> io::Result<()> {
    out.line("")?;
    let addresses: Vec<_> = host.addresses.iter().map(|a| a.address.as_str()).collect();
    let addresses = match addresses.is_empty() {
        true => String::new(),
        false => format!(", {}", addresses.join(", ")),
    };
    let title = format!("MX {} {}{addresses}", host.preference, host.name);
    out.heading(&title)?;
    let about = report.group(Group::Host).filter(|f| {
        f.host
            .as_ref()
            .is_some_and(|name| name.as_str() == host.name)
    });
    for finding in about {
        print_finding(finding, out)?;
    }
    let takes = host.verdict.tls.is_some();
    let text = match takes {
        true => format!("mail would be sent here {}", host.verdict.detail),
        false => format!(
            "mail would not be sent here: {}",
            clause(&host.verdict.detail)
        ),
    };
    out.marked(if takes { Mark::Good } else { Mark::Error }, &text)
}

fn print_finding(finding: &Finding, out: &mut Output) -> io::Result<()> {
    let mark = match finding.severity {
        Severity::Good => Mark::Good,
        Severity::Note => Mark::Note,
        Severity::Warning => Mark::Warning,
        Severity::Error => Mark::Error,
    };
    out.marked(mark, &finding.text)?;
    match &finding.remedy {
        Some(remedy) => out.marked(Mark::Nothing, &format!("-> {remedy}")),
        None => Ok(()),
    }
}

fn in_words(verdict: &VerdictView) -> String {
    match &verdict.host {
        Some(host) => format!("{} to {host}, {}", verdict.result, verdict.detail),
        None => format!("{} because {}", verdict.result, clause(&verdict.detail)),
    }
}

/// A sentence as a part of another one.
fn clause(sentence: &str) -> String {
    let text = sentence.trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // Acronyms keep their capitals.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            let rest = text.get(first.len_utf8()..).unwrap_or_default();
            first.to_lowercase().collect::<String>() + rest
        }
        _ => text.to_owned(),
    }
}

/// One step of one session; a greeting may take twice as long.
const STEP: Duration = Duration::from_secs(8);
/// The whole audit.
const LIMIT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_become_clauses() {
        for (sentence, want) in [
            (
                "The certificate has expired.",
                "the certificate has expired",
            ),
            ("DNS does not answer.", "DNS does not answer"),
            ("mx.d.test is down.", "mx.d.test is down"),
            ("", ""),
        ] {
            assert_eq!(clause(sentence), want);
        }
    }

    #[test]
    fn only_whole_domains_are_audited() {
        assert_eq!(parse("D.test").unwrap().as_str(), "d.test");
        for bad in ["", "localhost", "a b.test", "192.0.2.1"] {
            assert_eq!(parse(bad).unwrap_err().status, Status::Usage, "{bad}");
        }
    }

    #[test]
    fn of_a_very_long_name_the_beginning_is_told() {
        let refused = parse(&"x".repeat(100_000)).unwrap_err();
        assert_eq!(refused.status, Status::Usage);
        assert!(refused.message.contains("(100000 characters)"), "{refused}");
        assert!(refused.message.len() < 300, "{refused}");
    }
}
