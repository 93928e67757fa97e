//! Who serves us at all. A resolver is silent too when a zone's servers are, and REFUSED may be about one zone:
//! whoever did not get an answer asks for what ought to be known.

use std::sync::Arc;
use std::time::Instant;

use dns_health::{Absence, Conduct};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::proto::op::{DnsRequest, Query};
use hickory_resolver::proto::rr::{Name, RecordType};

use super::group::{Group, Pool};
use super::replies::{conduct, has_reply};
use super::{Inner, Served};
use crate::closed::why;

impl Inner {
    /// A question has just ended so. Whoever comes while somebody looks waits for what is found: so all who
    /// failed together say the same. A look that had begun before our question failed does not count. It is not
    /// given up with the look-up that it is made for, whose time may end before: of a server that is silent it
    /// would else never be known what the others do.
    pub(super) async fn unanswered(self: &Arc<Self>, reply: Conduct) {
        let failed = Instant::now();
        if self.board.explains(reply) {
            return;
        }
        let inner = Arc::clone(self);
        let look = tokio::spawn(async move { inner.look_since(failed, reply).await });
        // It fails only with the runtime, and then nobody wants to know.
        let _ = look.await;
    }

    async fn look_since(&self, failed: Instant, reply: Conduct) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|began| began >= failed) || self.board.explains(reply) {
            return;
        }
        let began = Instant::now();
        self.look().await;
        *looked = Some(began);
    }

    /// Finds out whom all servers serve, and notes it.
    pub(super) async fn look(&self) {
        let began = Instant::now();
        let group = self.group();
        let Some(servers) = self.conducts(&group).await else {
            return;
        };
        match Absence::of(&servers) {
            None => self.board.answered(),
            Some(how) => {
                let addresses = group.addresses.iter().copied();
                let servers: Vec<_> = addresses.zip(servers).collect();
                let why = why(&servers).await;
                self.board.nobody_answered(began, how, why);
            }
        }
    }

    /// Records, or that there are none, of what every resolver knows or of what was answered before.
    pub(super) async fn serves(self: &Arc<Self>) -> Served {
        let root = Query::query(Name::root(), RecordType::SOA);
        let root = self.ask(&DnsRequest::from_query(root, self.options)).await;
        let served = match conduct(&root) {
            Some(Conduct::Answers) => return Served::Root,
            Some(Conduct::Fails(_)) => Served::Root,
            Some(Conduct::Refuses | Conduct::Refers) => Served::OwnZones,
            Some(Conduct::Silent | Conduct::Cut | Conduct::Unreadable) | None => {
                return Served::Nothing;
            }
        };
        let group = self.group();
        let questions = self.board.witnesses();
        let asked = group.servers().iter().flat_map(|server| {
            let requests = questions
                .iter()
                .map(|question| DnsRequest::from_query(question.clone(), self.options));
            requests.map(move |request| async move { server.within(self.briefly, &request).await })
        });
        let mut replies: FuturesUnordered<_> = asked.collect();
        while let Some(reply) = replies.next().await {
            if has_reply(&reply) {
                return served;
            }
        }
        Served::Nothing
    }

    /// What each server does; `None` if we cannot ask. The root's SOA record is what every resolver knows. One
    /// that refuses it, or fails at it, may be there for the inside of a network only, and is asked for more.
    async fn conducts(&self, group: &Group) -> Option<Vec<Conduct>> {
        let root = Query::query(Name::root(), RecordType::SOA);
        let said = self.ask_some(&[root], group, |_| true).await?;
        if Absence::of(&said).is_none_or(|how| how == Absence::Silent) {
            return Some(said);
        }
        // From the others nothing comes back: they are not waited for twice.
        let talks = |i: usize| !matches!(said.get(i), Some(Conduct::Silent) | None);
        let more = self.ask_some(&self.board.witnesses(), group, talks).await?;
        let each = said.into_iter().zip(more);
        Some(each.map(|(a, b)| a.min(b)).collect())
    }

    /// The first that answers is enough: nobody waits for the others then.
    async fn ask_some(
        &self,
        questions: &[Query],
        group: &Group,
        whom: impl Fn(usize) -> bool,
    ) -> Option<Vec<Conduct>> {
        let servers = group.servers().iter().enumerate().filter(|(i, _)| whom(*i));
        let asked =
            servers.map(|(i, server)| async move { (i, self.ask_for(server, questions).await) });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut said = vec![Some(Conduct::Silent); group.servers().len()];
        while let Some((i, conduct)) = asked.next().await {
            if conduct == Some(Conduct::Answers) {
                return Some(vec![Conduct::Answers; said.len()]);
            }
            if let Some(entry) = said.get_mut(i) {
                *entry = conduct;
            }
        }
        said.into_iter().collect()
    }

    async fn ask_for(&self, server: &Pool, questions: &[Query]) -> Option<Conduct> {
        let replies = questions.iter().map(|question| async move {
            let request = DnsRequest::from_query(question.clone(), self.options);
            conduct(&server.within(self.briefly, &request).await)
        });
        let replies: Option<Vec<_>> = join_all(replies).await.into_iter().collect();
        replies.map(Conduct::overall)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::{Zone, ZoneFault};

    use super::*;
    use crate::{Config, NameServers, Servers};

    /// The time of a look-up is over before anything comes back.
    #[tokio::test]
    async fn h1_02_a_look_outlives_the_look_up_that_it_is_made_for() {
        let zone = Zone::start_on("127.0.0.1:0").await;
        zone.fault_all(ZoneFault::Refused);
        let servers = NameServers::new(&Config {
            servers: Servers::List(vec![zone.address()]),
            believe_ad: false,
            timeout: Duration::from_secs(300),
            retries: 2,
        })
        .unwrap();
        let mut silence = servers.subscribe();
        tokio::select! {
            biased;
            () = servers.0.unanswered(Conduct::Refuses) => panic!("nobody has answered yet"),
            () = std::future::ready(()) => {}
        }
        let noted = silence.wait_for(Option::is_some);
        let noted = tokio::time::timeout(Duration::from_secs(120), noted).await;
        let how = noted.unwrap().unwrap().as_ref().map(|silence| silence.how);
        assert_eq!(how, Some(Absence::Refuses));
    }

    /// What the validator asks for besides is put to each server as well.
    #[tokio::test]
    async fn an_error_of_one_server_does_not_stand_for_all() {
        let (bad, good) = (
            Zone::start_on("127.0.0.1:0").await,
            Zone::start_on("127.0.0.2:0").await,
        );
        good.mx("d.test", 10, "mx.d.test");
        for fault in [ZoneFault::ServFail, ZoneFault::Refused, ZoneFault::Referral] {
            bad.fault_all(fault);
            let servers = NameServers::new(&Config {
                servers: Servers::List(vec![bad.address(), good.address()]),
                believe_ad: false,
                timeout: Duration::from_secs(300),
                retries: 0,
            })
            .unwrap();
            let name = Name::from_ascii("d.test.").unwrap();
            let request = DnsRequest::from_query(
                Query::query(name, RecordType::MX),
                servers.options_with_do(),
            );
            for _ in 0..5 {
                assert!(has_reply(&servers.ask_once(&request).await), "{fault:?}");
            }
        }
    }
}
