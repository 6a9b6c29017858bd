//! Asking Claviger about one request, within a deadline and a limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{Allowed, Demand, Denied, Refusal};
use crate::grpc::proto::v1;
use crate::grpc::proto::v1::authorize_client::AuthorizeClient;

/// What it takes to ask. Clones share the connection and the limit.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    client: AuthorizeClient<Channel>,
    pub(super) deadline: Duration,
    places: Arc<Semaphore>,
}

impl Asking {
    pub(super) fn new(channel: Channel, deadline: Duration, max_concurrent: usize) -> Self {
        Self {
            client: AuthorizeClient::new(channel),
            deadline,
            places: places(max_concurrent),
        }
    }

    pub(super) fn limit(&mut self, max_concurrent: usize) {
        self.places = places(max_concurrent);
    }

    /// The decision. Whatever is no clear "allow" is a refusal.
    pub(super) async fn about(
        &self,
        http: v1::HttpRequest,
        peer: Option<IpAddr>,
        demand: Demand,
    ) -> Result<Allowed, Refusal> {
        if demand.is_nothing() {
            return Err(Refusal::NothingDemanded);
        }
        // Nobody waits in a queue here: a client that is told to come back is served sooner than one that waits behind
        // requests which will time out.
        let _place = self.places.try_acquire().map_err(|_| Refusal::Overloaded)?;
        let mut request = Request::new(v1::CheckRequest {
            workspace: demand.workspace,
            http: Some(http),
            source_ip: peer
                .map(|ip| ip.to_canonical().to_string())
                .unwrap_or_default(),
            required_scopes: demand.all_of,
            any_of_scopes: demand.any_of,
            subscription: demand.subscription,
            ..v1::CheckRequest::default()
        });
        request.set_timeout(self.deadline);
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(self.deadline, client.check(request))
            .await
            .map_err(|_| Refusal::TimedOut(self.deadline))?
            .map_err(|status| self.undecided(status))?
            .into_inner();
        match answer.decision() {
            v1::Decision::Allow => Ok(Allowed::of(answer)),
            v1::Decision::Deny => Err(Refusal::Denied(Denied::of(answer))),
            v1::Decision::Unspecified => Err(Refusal::Unusable("the answer has no decision")),
        }
    }

    fn undecided(&self, status: Status) -> Refusal {
        match status.code() {
            Code::ResourceExhausted => Refusal::Overloaded,
            // The channel keeps the same deadline, and may be the first to notice.
            Code::DeadlineExceeded => Refusal::TimedOut(self.deadline),
            _ => Refusal::Undecided(status),
        }
    }
}

fn places(max_concurrent: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_concurrent.min(Semaphore::MAX_PERMITS)))
}
