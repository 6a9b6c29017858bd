//! What a handler knows of an allowed request, and the interceptor that lets no other one reach it.

use std::collections::BTreeMap;

use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::grpc::proto::v1;

/// The decision about an allowed request, in its extensions. Only [`AuthorizeLayer`](super::AuthorizeLayer) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The workspace decided in.
    pub workspace: String,
    /// The key; empty: none, because the route takes requests without one.
    pub key_id: String,
    /// The secret of it that was presented.
    pub secret_id: String,
    /// The principal that the key is bound to; empty: none.
    pub principal: String,
    /// The subscription that the request is accounted to; empty: none.
    pub subscription: String,
    /// What the key may do; may end in `:*`. The demanded scopes were checked already.
    pub scopes: Vec<String>,
    /// The key's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the key's owner wants to be told of events; empty: nowhere.
    pub postback_url: String,
    /// Record nothing of this request.
    pub off_the_record: bool,
    /// The route that took the request; empty: none.
    pub route: String,
    /// Restrictions in shadow that would have denied.
    pub shadowed: Vec<v1::Reason>,
    /// The revision decided at, `epoch.n`.
    pub revision: String,
}

impl Allowed {
    /// Of an answer that was seen to allow.
    pub(super) fn of(answer: v1::CheckResponse) -> Self {
        let shadowed = answer.shadowed().collect();
        Self {
            workspace: answer.workspace,
            key_id: answer.key_id,
            secret_id: answer.secret_id,
            principal: answer.principal,
            subscription: answer.subscription,
            scopes: answer.scopes,
            labels: answer.labels,
            postback_url: answer.postback_url,
            off_the_record: answer.off_the_record,
            route: answer.route,
            shadowed,
            revision: answer.revision,
        }
    }
}

/// An interceptor of a tonic server: a request without [`Allowed`] in its extensions is refused with `PERMISSION_DENIED`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequireAllowed;

impl Interceptor for RequireAllowed {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if request.extensions().get::<Allowed>().is_some() {
            return Ok(request);
        }
        tracing::error!(
            "a request came past the authorization layer; put `AuthorizeLayer` before this service"
        );
        Err(Status::permission_denied(
            "this service takes no request that was not authorized",
        ))
    }
}
