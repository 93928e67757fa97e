//! Whom we trust, as whom we log in and sign: what a reload reads again from its files.

use std::fs;
use std::sync::Arc;

use arc_swap::ArcSwap;
use settings::Settings;
use smtp_client::{
    Account, Credentials, Revocation, RevocationFailure, RootSet, RootSource, Roots,
};

use super::signing::{self, Signing};
use super::translate;

/// Trust anchors, revocation lists and credentials, each replaced as a whole by a reload.
pub(crate) struct Trust {
    /// For mail exchangers, policy hosts, and routes without anchors of their own.
    pub(crate) roots: Roots,
    /// In the order of the routes.
    pub(crate) routes: Vec<RouteTrust>,
    /// As whom we sign.
    pub(crate) signing: Signing,
}

/// What a route has of its own.
pub(crate) struct RouteTrust {
    pub(crate) roots: Option<Roots>,
    pub(crate) account: Option<Account>,
}

/// What was read for a route.
struct Read {
    roots: Option<RootSet>,
    credentials: Option<Credentials>,
}

impl Trust {
    /// Reads everything.
    ///
    /// # Errors
    /// The first file that cannot be used, with its name.
    pub(crate) fn open(s: &Settings) -> Result<Self, String> {
        let roots = Roots::new(load(s, &translate::roots(s))?);
        let routes = read_routes(s)?.into_iter().map(|read| RouteTrust {
            roots: read.roots.map(Roots::new),
            account: read.credentials.map(Account::new),
        });
        Ok(Self {
            roots,
            routes: routes.collect(),
            signing: Arc::new(ArcSwap::from_pointee(signing::load(s)?)),
        })
    }

    /// Reads everything again and puts it in force, or nothing of it. The routes' files are only
    /// looked at if the routes themselves are those of the start.
    ///
    /// # Errors
    /// The first file that cannot be used; what was in force stays.
    pub(crate) fn reload(&self, s: &Settings, same_routes: bool) -> Result<(), String> {
        let roots = load(s, &translate::roots(s))?;
        let routes = if same_routes {
            read_routes(s)?
        } else {
            Vec::new()
        };
        let signing = signing::load(s)?;
        self.roots.replace(roots);
        self.signing.store(Arc::new(signing));
        for (own, read) in self.routes.iter().zip(routes) {
            if let (Some(roots), Some(set)) = (&own.roots, read.roots) {
                roots.replace(set);
            }
            if let (Some(account), Some(credentials)) = (&own.account, read.credentials) {
                account.replace(credentials);
            }
        }
        Ok(())
    }
}

/// Trust anchors from these sources, with the revocation lists. What is left out is logged.
///
/// # Errors
/// What cannot be used.
pub(super) fn load(s: &Settings, sources: &[RootSource]) -> Result<RootSet, String> {
    let (set, left_out) = RootSet::load(sources).map_err(|e| e.to_string())?;
    for w in left_out {
        tracing::warn!(source = %w.source, skipped = w.skipped, problem = %w.problem, "some trust anchors were left out");
    }
    let failure = match s.tls.crl_failure {
        settings::CrlFailure::Soft => RevocationFailure::Soft,
        settings::CrlFailure::Hard => RevocationFailure::Hard,
    };
    let (revocation, left_out) =
        Revocation::load(&s.tls.crls, failure).map_err(|e| e.to_string())?;
    for w in left_out {
        tracing::error!(file = %w.source, problem = %w.problem, "tls.crl-unusable: a revocation list was left out; certificates that it revokes pass");
    }
    Ok(set.with_revocation(revocation))
}

fn read_routes(s: &Settings) -> Result<Vec<Read>, String> {
    let each = s.routes.iter().map(|route| {
        let roots = if route.roots.is_empty() {
            None
        } else {
            Some(load(s, &translate::route_roots(&route.roots))?)
        };
        let credentials = route.credentials.as_ref().map(credentials).transpose()?;
        Ok(Read { roots, credentials })
    });
    each.collect()
}

/// The password is the first line of its file.
fn credentials(of: &settings::Credentials) -> Result<Credentials, String> {
    let file = of.password_file.display();
    let text = fs::read_to_string(&of.password_file).map(zeroize::Zeroizing::new);
    let text = text.map_err(|e| format!("{file}: {e}"))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    Credentials::new(&of.username, zeroize::Zeroizing::new(password))
        .map_err(|e| format!("{file}, user {}: {e}", of.username))
}
