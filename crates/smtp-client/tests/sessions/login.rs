//! Logging in, and when nothing is said of it.

use smtp_client::{
    Account, AuthFault, Cause, Connection, Connector, Credentials, Posture, SessionError, Stage,
};

use crate::ca::Ca;
use crate::peer::{Scripted, greet, hear, say, secure};
use crate::{MX, config, peer_of, roots};

fn account() -> Account {
    let password = zeroize::Zeroizing::new("tanstaaftanstaaf".to_owned());
    Account::new(Credentials::new("tim", password).unwrap())
}

fn connector(ca: &Ca) -> Connector {
    let mut config = config();
    config.account = Some(account());
    Connector::new(config, roots(ca))
}

fn refused(result: Result<Connection, SessionError>) -> SessionError {
    match result {
        Ok(_) => panic!("the session must not open"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn e2_33_the_login_comes_after_the_ehlo_inside_tls_and_shows_in_no_transcript() {
    let ca = Ca::new("Root");
    let mut steps = secure(ca.leaf(&[MX]).server(), &["AUTH PLAIN"]);
    steps.extend([
        hear("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"),
        say("235 2.7.0 hello tim\r\n"),
    ]);
    let scripted = Scripted::start(steps);
    let connector = connector(&ca);
    let connection = connector.connect(&peer_of(&scripted)).await.unwrap();
    let key = connection.key().account.clone().expect("logged in");
    assert_eq!((&*key.username, key.generation), ("tim", 1));
    assert_eq!(
        *connection.key(),
        connector.pool_key(&peer_of(&scripted), Posture::Authenticate)
    );
    let shown = connection.transcript().to_string();
    assert!(
        shown.contains("> AUTH PLAIN (not shown)\n< 235 (not shown)\n"),
        "{shown}"
    );
    assert!(
        !shown.contains("AHRp") && !shown.contains("tanstaaf"),
        "{shown}"
    );
    connection.quit().await;
    scripted.heard().await;
}

#[tokio::test]
async fn e2_33_h3_28_whoever_is_not_verified_is_told_nothing() {
    let ca = Ca::new("Root");
    for posture in [
        Posture::DangerousEncrypt,
        Posture::DangerousOpportunistic,
        Posture::DangerousPlain,
    ] {
        let steps = match posture {
            Posture::DangerousPlain => greet(&["AUTH PLAIN"]),
            _ => secure(ca.leaf(&[MX]).server(), &["AUTH PLAIN"]),
        };
        let scripted = Scripted::start(steps);
        let error = refused(
            connector(&ca)
                .connect_with(&peer_of(&scripted), posture)
                .await,
        );
        assert!(
            matches!(error.cause, Cause::Auth(AuthFault::NotVerified)),
            "{posture}: {error}"
        );
        let heard = scripted.heard().await;
        assert!(
            !heard.lines.iter().any(|l| l.starts_with("AUTH")),
            "{:?}",
            heard.lines
        );
    }
}

#[tokio::test]
async fn h3_35_refusals_are_about_the_login_and_quit_follows() {
    let ca = Ca::new("Root");
    let mut steps = secure(ca.leaf(&[MX]).server(), &["AUTH PLAIN"]);
    steps.extend([
        hear("AUTH PLAIN"),
        say("535 5.7.8 no tanstaaftanstaaf here\r\n"),
    ]);
    let scripted = Scripted::start(steps);
    let error = refused(connector(&ca).connect(&peer_of(&scripted)).await);
    assert_eq!(
        (error.stage, error.cause.reason().key()),
        (Stage::Auth, "route-auth")
    );
    assert!(error.cause.reply().is_some_and(|r| r.code() == 535));
    let told = format!("{error} {error:?} {}", error.transcript);
    assert!(!told.contains("tanstaaf"), "{told}");
    let heard = scripted.heard().await;
    assert_eq!(heard.lines.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn other_credentials_are_another_key_of_the_pool() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start(vec![]);
    let account = account();
    let mut config = config();
    config.account = Some(account.clone());
    let connector = Connector::new(config, roots(&ca));
    let key = || connector.pool_key(&peer_of(&scripted), Posture::Authenticate);
    let before = key();
    let password = |text: &str| zeroize::Zeroizing::new(text.to_owned());
    account.replace(Credentials::new("tim", password("tanstaaftanstaaf")).unwrap());
    assert_eq!(key(), before, "the same ones change nothing");
    account.replace(Credentials::new("tim", password("another")).unwrap());
    assert_ne!(key(), before);
}
