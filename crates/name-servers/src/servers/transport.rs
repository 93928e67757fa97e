//! hickory's transports, with what it leaves out of the replies.

use std::net::IpAddr;
use std::pin::Pin;

use futures_util::stream::StreamExt;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsRequest, DnsResponse};
use hickory_resolver::{ConnectionProvider, PoolContext};

use super::Reply;
use crate::trouble::Trouble;

/// hickory's transports. With `dns.dnssec = "trust-ad"` the AD bit is noted on each record, where
/// our own verdicts stand too: hickory turns denials into errors, in which the bit is lost.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) runtime: TokioRuntimeProvider,
    pub(super) believe_ad: bool,
    pub(super) trouble: Trouble,
}

impl ConnectionProvider for Transport {
    type Conn = Connection;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Connection, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let opening = self.runtime.new_connection(ip, config, cx)?;
        let believe_ad = self.believe_ad;
        let trouble = self.trouble.clone();
        Ok(Box::pin(async move {
            let exchange = opening.await.inspect_err(|e| trouble.note(e))?;
            Ok(Connection {
                exchange,
                believe_ad,
                trouble,
            })
        }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.runtime
    }
}

#[derive(Clone)]
pub(super) struct Connection {
    exchange: DnsExchange<TokioRuntimeProvider>,
    believe_ad: bool,
    trouble: Trouble,
}

impl DnsHandle for Connection {
    type Response = Reply;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let trouble = self.trouble.clone();
        let question = request.queries.first().cloned();
        let replies = self.exchange.send(request);
        let replies = replies.map(move |reply| {
            if let (Ok(response), Some(question)) = (&reply, &question)
                && response.truncation
            {
                trouble.note_truncated(question);
            }
            reply.inspect_err(|e| trouble.note(e))
        });
        if !self.believe_ad {
            return Box::pin(replies);
        }
        Box::pin(replies.map(|reply| reply.map(note_ad)))
    }
}

fn note_ad(mut response: DnsResponse) -> DnsResponse {
    let proof = if response.metadata.authentic_data {
        Proof::Secure
    } else {
        Proof::Insecure
    };
    let message = &mut *response;
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        record.proof = proof;
    }
    response
}
