//! Answers what AUTH asks of the driver.

use std::time::Duration;

use smtp_proto::server::{AuthAnswer, AuthRequest};
use tokio::time::sleep;

use super::Phase;
use super::drive::Drive;
use crate::{Intake, LoginAttempt, LoginVerdict, Observer};

impl<I: Intake, O: Observer> Drive<'_, I, O> {
    pub(super) async fn authenticate(&mut self) {
        let Some(request) = self.session_mut().take_auth_request() else {
            return;
        };
        let context = self.context();
        let Some(authenticator) = &context.authenticator else {
            let answer = match request {
                AuthRequest::Certificate {
                    identity: Some(identity),
                } => AuthAnswer::Accepted(identity),
                _ => AuthAnswer::Rejected,
            };
            return self.session_mut().authenticated(answer);
        };
        let (user, attempt) = match request {
            AuthRequest::Scram { user } => {
                let (secret, nonce) = authenticator.scram(&user);
                return self.session_mut().scram_secret(secret, &nonce);
            }
            AuthRequest::Password { user, password } => (user, LoginAttempt::Password(password)),
            AuthRequest::Proof { user, holds } => (user, LoginAttempt::Proof { holds }),
            // A key that was proved in the handshake is not guessed: nothing to hold off.
            AuthRequest::Certificate { identity } => {
                let answer = identity.map_or(AuthAnswer::Rejected, AuthAnswer::Accepted);
                return self.session_mut().authenticated(answer);
            }
        };
        let shown = matches!(attempt, LoginAttempt::Password(_));
        let client = self.address().ip();
        let verdict = authenticator.judge(client, &user, attempt).await;
        let answer = match verdict {
            LoginVerdict::Accepted(name) => {
                let identities = context.access.load().identities();
                if shown && identities.rules(&name).scram_only {
                    AuthAnswer::TooWeak
                } else {
                    AuthAnswer::Accepted(identities.identity(name))
                }
            }
            LoginVerdict::Rejected(delay) => {
                self.hold_back(delay).await;
                AuthAnswer::Rejected
            }
            LoginVerdict::HeldOff { again, delay } => {
                self.hold_back(delay).await;
                let seconds = again.as_secs() + 1;
                AuthAnswer::NotNow(format!("Too many failed logins; again in {seconds} s"))
            }
            LoginVerdict::Busy => AuthAnswer::NotNow("Too many logins at once; again later".into()),
        };
        self.session_mut().authenticated(answer);
    }

    /// Whoever guesses waits (row G2-11); shutdown does not.
    async fn hold_back(&mut self, delay: Duration) {
        let mut phase = self.phase();
        tokio::select! {
            () = sleep(delay) => {}
            _ = phase.wait_for(|phase| *phase != Phase::Open) => {}
        }
    }
}
