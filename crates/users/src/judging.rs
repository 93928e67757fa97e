//! Passwords that are being judged, so that logins that come at once with the same one wait for the
//! first of them.
//!
//! An application that opens forty connections after a restart logs in forty times with one
//! password. What the first finds is known again ([`crate::recent`]) if it is right; if it is wrong,
//! all who waited for it do the whole work too, so that a wrong answer is as slow as ever and
//! guessing gains nothing. Names that do not exist are treated alike: that tells nobody who does.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Secret;

pub(crate) struct Judging {
    /// Random, made at the start: no password stands in memory for it.
    key: hmac::Key,
    under_way: Mutex<HashMap<Box<[u8]>, watch::Receiver<()>>>,
}

/// Whether a login is the first with its password.
pub(crate) enum Turn<'j> {
    First(First<'j>),
    Behind(Behind),
}

/// To be kept until the verdict counts.
pub(crate) struct First<'j> {
    all: &'j Judging,
    tag: Box<[u8]>,
    _end: watch::Sender<()>,
}

/// Another login has the same name and password.
pub(crate) struct Behind(watch::Receiver<()>);

impl Judging {
    pub(crate) fn new(key: &Secret) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.octets()),
            under_way: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self, name: &str, password: &str) -> Turn<'_> {
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps name and password apart, whatever stands in them.
        context.update(&name.len().to_be_bytes());
        context.update(name.as_bytes());
        context.update(password.as_bytes());
        let tag: Box<[u8]> = context.sign().as_ref().into();
        let mut under_way = self.under_way.lock();
        if let Some(end) = under_way.get(&tag) {
            return Turn::Behind(Behind(end.clone()));
        }
        let (sender, receiver) = watch::channel(());
        under_way.insert(tag.clone(), receiver);
        Turn::First(First {
            all: self,
            tag,
            _end: sender,
        })
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.all.under_way.lock().remove(&self.tag);
    }
}

impl Behind {
    /// The first has its verdict, or gave up.
    pub(crate) async fn ended(mut self) {
        // Nothing is ever sent: the sender goes.
        let _ = self.0.changed().await;
    }
}
