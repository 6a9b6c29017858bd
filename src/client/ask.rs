//! Asking Claviger about one request, within a deadline and a limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

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
        let question = v1::CheckRequest {
            workspace: demand.workspace,
            http: Some(http),
            source_ip: peer
                .map(|ip| ip.to_canonical().to_string())
                .unwrap_or_default(),
            required_scopes: demand.all_of,
            any_of_scopes: demand.any_of,
            subscription: demand.subscription,
            ..v1::CheckRequest::default()
        };
        let answer = tokio::time::timeout(self.deadline, self.ask(question))
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

    /// Asks; where the connection is being let go, over the next one.
    async fn ask(&self, question: v1::CheckRequest) -> Result<Response<v1::CheckResponse>, Status> {
        let request = |question| {
            let mut request = Request::new(question);
            request.set_timeout(self.deadline);
            request
        };
        let mut client = self.client.clone();
        match client.check(request(question.clone())).await {
            Err(status) if came_too_late(&status) => client.check(request(question)).await,
            answered => answered,
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

/// Whether a call came when its connection was being let go in order (GOAWAY): a client of hyper's learns of that with its next
/// call, which it drops.
fn came_too_late(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_canceled()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}

fn places(max_concurrent: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_concurrent.min(Semaphore::MAX_PERMITS)))
}
