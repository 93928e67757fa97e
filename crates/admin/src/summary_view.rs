//! Waiting mail by domain and reason as the API shows it: what is said of each row.

use attempt::{Facts, Reason, Side};
use outbound_queue::{Blame, Keyed, ReasonCount};

use crate::queue::parse_host;
use crate::{CaseCount, CaseView, ReasonSummary};

/// What is said of mail for which something else is to be said than usually of its reason.
fn said(reason: Option<&Keyed<Reason>>, blame: Option<Blame>) -> Option<CaseView> {
    let is_usual = |b: &Blame| reason == Some(&b.reason.into()) && *b == b.reason.into();
    blame.filter(|blame| !is_usual(blame)).map(in_case)
}

/// It was set aside by the relay, and says so itself.
pub(crate) fn is_parked(reason: Option<&Keyed<Reason>>) -> bool {
    reason == Some(&Reason::Parked.into())
}

/// Why a row's mail waits that an operator holds, or `queue.hold-at-start`.
pub(crate) fn held(domain: &str) -> String {
    let which = match parse_host(domain) {
        Ok(_) => format!(" --domain {domain}"),
        Err(_) => String::new(),
    };
    format!("{HELD} (`sealpost queue release{which}`).")
}

fn said_of_held() -> CaseView {
    CaseView {
        sentence: format!("{HELD}."),
        advice: "Release it when it may go out: `sealpost queue release`, with ids, `--domain` or `--all`."
            .to_owned(),
        explanation: Vec::new(),
        clause: None,
    }
}

const HELD: &str = "It is held: no attempt is made until it is released";

/// What happened to most of a row's mail.
pub(crate) fn sentence(blame: Blame, domain: &str) -> String {
    let Blame { reason, case, by } = blame;
    reason.sentence(&Facts {
        domain,
        case,
        by,
        ..Facts::default()
    })
}

fn in_case(blame: Blame) -> CaseView {
    let Blame { reason, case, by } = blame;
    let facts = Facts {
        case,
        by,
        ..Facts::default()
    };
    let explanation = reason.explanation_in(case).iter();
    CaseView {
        sentence: reason.sentence(&facts),
        advice: reason.advice(&facts),
        explanation: explanation.map(|text| (*text).to_owned()).collect(),
        clause: (!reason.is_explained_apart(case)).then(|| reason.clause().to_owned()),
    }
}

/// What is said of each case; one remedy must not stand for mail that needs another.
fn cases(counts: &[(Option<Blame>, u64)]) -> Vec<CaseCount> {
    let mut cases: Vec<CaseCount> = Vec::new();
    for (blame, messages) in counts {
        let Some(said) = blame.map(in_case) else {
            continue;
        };
        match cases.iter_mut().find(|case| case.said == said) {
            Some(case) => case.messages += messages,
            None => cases.push(CaseCount {
                messages: *messages,
                said,
            }),
        }
    }
    cases
}

pub(crate) fn by_reason(reasons: Vec<ReasonCount>) -> Vec<ReasonSummary> {
    let rows = reasons.into_iter().map(|row| {
        let cases = cases(&row.cases);
        let said = match &*row.cases {
            [(blame, _)] => said(row.reason.as_ref(), *blame),
            // Of several that are told alike.
            _ => cases.first().map(|case| case.said.clone()),
        };
        let is_held = row.held && !is_parked(row.reason.as_ref());
        let said = if is_held { Some(said_of_held()) } else { said };
        let is_one = is_held || cases.len() < 2;
        ReasonSummary {
            side: row.side.map(in_a_word),
            held: row.held,
            said: said.filter(|_| is_one),
            cases: if is_one { Vec::new() } else { cases },
            reason: row.reason.map(|reason| reason.to_string()),
            messages: row.messages,
            domains: row.destinations,
        }
    });
    rows.collect()
}

pub(crate) fn in_a_word(side: Side) -> String {
    side.key().to_owned()
}
