//! Why there is no reply to believe.

use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;

pub(crate) enum Failure {
    /// What hickory says, denials among it.
    Net(NetError),
    /// What the validator needs besides could not be had.
    Chain(Box<(Query, NetError)>),
    /// Nothing was asked: DNSSEC has stopped reaching us, or nobody knows yet; why.
    Barred(String),
    /// There was one, nobody vouches for it, and it could not be seen whether the resolver would: why.
    Unvouched(String),
    /// There was one, and it fails validation: what is wrong with it.
    Bogus(String),
}

impl From<name_servers::Failure> for Failure {
    fn from(failure: name_servers::Failure) -> Self {
        match failure {
            name_servers::Failure::Net(error) => Self::Net(error),
            name_servers::Failure::Bogus(why) => Self::Bogus(why),
        }
    }
}
