//! Authorization for services written in Rust: a [`tower`] layer before a server, and interceptors on either side of a
//! call.
//!
//! [`AuthorizeLayer`] asks Claviger about every request of a tonic, axum or hyper server. What is allowed goes on with
//! [`Allowed`] in its extensions and without its credential; everything else is answered here, as HTTP or as a gRPC
//! status. Nothing passes that could not be checked.
//!
//! ```no_run
//! use claviger::client::{Allowed, AuthorizeLayer, Demand, RequireAllowed};
//! use tonic::transport::{Channel, Server};
//! # use tonic_health::pb::health_server::{Health, HealthServer};
//!
//! # async fn serve(orders: impl Health) -> Result<(), Box<dyn std::error::Error>> {
//! # type OrdersServer<T> = HealthServer<T>;
//! let claviger = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
//! Server::builder()
//!     .layer(AuthorizeLayer::new(claviger, Demand::all_of(["orders:read"])))
//!     .add_service(OrdersServer::with_interceptor(orders, RequireAllowed))
//!     .serve("127.0.0.1:9000".parse()?)
//!     .await?;
//! # Ok(())
//! # }
//!
//! // In a handler, or anywhere behind the layer:
//! fn caller<T>(request: &tonic::Request<T>) -> Option<&str> {
//!     request.extensions().get::<Allowed>().map(|allowed| &*allowed.key_id)
//! }
//! ```
//!
//! A layer before a whole server guards all that the server answers: health and reflection too, and over HTTP `/livez` or
//! the preflight requests of CORS, which come without a credential and are refused. Where those are to be open, put the
//! layer before the guarded services alone:
//!
//! ```no_run
//! use claviger::client::{AuthorizeLayer, Demand, RequireAllowed};
//! use tonic::transport::{Channel, Server};
//! use tower::Layer as _;
//! # use tonic_health::pb::health_server::{Health, HealthServer};
//!
//! # async fn serve(orders: impl Health) -> Result<(), Box<dyn std::error::Error>> {
//! # type OrdersServer<T> = HealthServer<T>;
//! let claviger = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
//! let layer = AuthorizeLayer::new(claviger, Demand::all_of(["orders:read"]));
//! let (_reporter, health) = tonic_health::server::health_reporter();
//! Server::builder()
//!     .add_service(health)
//!     .add_service(layer.layer(OrdersServer::with_interceptor(orders, RequireAllowed)))
//!     .serve("127.0.0.1:9000".parse()?)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`RequireAllowed`] is for the day on which somebody moves the service and forgets the layer: without [`Allowed`] no
//! handler is reached.
//!
//! ```
//! use claviger::client::RequireAllowed;
//! use tonic::service::Interceptor as _;
//!
//! let unchecked = tonic::Request::new(());
//! assert!(RequireAllowed.call(unchecked).is_err());
//! ```
//!
//! Who calls such a service, or Claviger's administration, sends a [`Token`] with every call through [`Bearer`].
//!
//! ```
//! use claviger::client::{Bearer, Token};
//! use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), claviger::client::InvalidToken> {
//! let token: Token = "clv_kept-in-a-file".parse()?;
//! assert!(!format!("{token:?}").contains("kept"));
//!
//! let claviger = tonic::transport::Channel::from_static("http://127.0.0.1:50051").connect_lazy();
//! let keys = KeyAdminClient::with_interceptor(claviger, Bearer::new(&token));
//! # let _ = keys;
//! # Ok(())
//! # }
//! ```
//!
//! Invariant: of the crate nothing is named here but the generated messages. For now a service that uses them builds the
//! server's dependencies too, since the crate is one.

mod allowed;
mod answer;
mod ask;
mod credential;
mod demand;
mod faults;
mod layer;
mod refusal;
mod token;

pub use allowed::{Allowed, RequireAllowed};
pub use demand::Demand;
pub use layer::{Authorize, AuthorizeLayer};
pub use refusal::{Denied, Refusal};
pub use token::{Bearer, InvalidToken, Token};
