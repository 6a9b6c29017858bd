//! An HTTP service that takes only requests with a key that Claviger allows.
//!
//! With Claviger running (`cargo run --release`) and a key that grants `orders:read`:
//!
//! ```sh
//! cargo run --example guarded
//! curl -H "x-api-key: $KEY" http://127.0.0.1:8080/orders
//! ```
//!
//! All there is to it are the lines in [`serve`] and [`orders`]; the rest is the server. A tonic or axum server takes the
//! same layer with its own `layer(…)`.

use std::convert::Infallible;
use std::error::Error;

use claviger::client::{Allowed, AuthorizeLayer, Demand};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tower::{Layer as _, ServiceExt as _, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let claviger = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
    serve(TcpListener::bind("127.0.0.1:8080").await?, claviger).await?;
    Ok(())
}

/// The service itself: it is reached by allowed requests alone, and knows whose they are.
async fn orders(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let caller = request.extensions().get::<Allowed>();
    let key = caller.map(|allowed| &*allowed.key_id).unwrap_or_default();
    Ok(Response::new(format!("no orders for {key} yet\n")))
}

/// Serves it behind the layer: whoever only reads needs less than whoever writes.
pub(crate) async fn serve(listener: TcpListener, claviger: Channel) -> std::io::Result<()> {
    let layer = AuthorizeLayer::with(claviger, |head| match head.method {
        Method::GET | Method::HEAD => Demand::all_of(["orders:read"]),
        _ => Demand::all_of(["orders:write"]),
    });
    let guarded = layer.layer(service_fn(orders));

    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await?;
        let guarded = guarded.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            // Keys that are bound to networks are judged by this address.
            request.extensions_mut().insert(peer);
            guarded.clone().oneshot(request)
        });
        let service = TowerToHyperService::new(service);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(connection);
        while connections.try_join_next().is_some() {}
    }
}
