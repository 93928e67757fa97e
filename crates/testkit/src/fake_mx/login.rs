//! AUTH (RFC 4954): PLAIN and LOGIN, with one user.

use std::io;

use data_encoding::BASE64;

use super::session::{Next, Session};

/// Who may log in, and how. Without a login, MAIL gets 530 5.7.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The only user.
    pub user: String,
    /// The password.
    pub password: String,
    /// What is offered after `AUTH`, for instance `PLAIN LOGIN`.
    pub mechanisms: String,
}

impl Login {
    /// This user, by PLAIN or LOGIN.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            mechanisms: "PLAIN LOGIN".to_owned(),
        }
    }
}

impl Session {
    pub(super) async fn auth(&mut self, rest: &str, login: &Login) -> io::Result<Next> {
        if !self.wire.is_tls() {
            return self.reply("538 5.7.11 not in clear").await;
        }
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism {
            "PLAIN" if !initial.is_empty() => decoded(initial),
            "PLAIN" => self.challenge("").await?,
            "LOGIN" => {
                let user = self.challenge("VXNlcm5hbWU6").await?;
                let password = self.challenge("UGFzc3dvcmQ6").await?;
                format!("\0{user}\0{password}")
            }
            _ => return self.reply("504 5.5.4 no such mechanism").await,
        };
        if given == format!("\0{}\0{}", login.user, login.password) {
            self.logged_in = true;
            return self.reply("235 2.7.0 welcome").await;
        }
        self.reply("535 5.7.8 wrong user or password").await
    }

    async fn challenge(&mut self, text: &str) -> io::Result<String> {
        self.reply(&format!("334 {text}")).await?;
        let line = self.wire.line().await?.unwrap_or_default();
        Ok(decoded(String::from_utf8_lossy(&line).trim_end()))
    }
}

fn decoded(text: &str) -> String {
    let octets = BASE64.decode(text.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}
