//! One POST over HTTP/1.1: resolve, check, connect to what was checked, send, read the status.
//!
//! A connection of its own for each attempt: none that was made for one name is ever used for another. There is no code
//! that could follow a redirect or ask a proxy.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::app::ports::outbox::{Post, Postman, Sent};
use crate::domain::postback::{Destination, Failure};

use super::address::Allowed;
use super::resolve::Resolver;

/// How many of a host's addresses are tried.
const ADDRESSES: usize = 4;
/// The largest head of an answer.
const HEAD: usize = 16 * 1_024;
/// How much of an answer's body is read, so that its sender sees it taken. It means nothing to us.
const BODY: usize = 16 * 1_024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection to one address.
    pub connect: Duration,
    /// All of an attempt, to the answer's head.
    pub whole: Duration,
    /// The answer's body, after that.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(20),
            body: Duration::from_secs(2),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The file with more authorities can't be used.
    #[error("`--postback-ca-file` can't be used: {0}")]
    Authorities(String),
}

/// Who carries POSTbacks.
pub struct Client {
    resolver: Arc<dyn Resolver>,
    allowed: Allowed,
    limits: Limits,
    tls: TlsConnector,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that trusts Mozilla's authorities, and those of a PEM file beside them.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        allowed: Allowed,
        limits: Limits,
        authorities: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(file) = authorities {
            add_authorities(&mut roots, file).map_err(ClientError::Authorities)?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            resolver,
            allowed,
            limits,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// The addresses of a host, if all of them may be talked to: one that may not is a sign that the name is not what it
    /// seems.
    async fn addresses(&self, to: &Destination) -> Result<Vec<IpAddr>, Failure> {
        let found = match to.host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => self
                .resolver
                .resolve(&to.host)
                .await
                .map_err(|_| Failure::NotResolved)?,
        };
        if found.is_empty() {
            return Err(Failure::NotResolved);
        }
        if !found.iter().all(|ip| self.allowed.admits(*ip, to.tls)) {
            return Err(Failure::AddressRefused);
        }
        Ok(found)
    }

    /// A connection to one of the addresses that were checked: to it, not to the name.
    async fn connect(&self, to: &Destination) -> Result<TcpStream, Failure> {
        let mut failure = Failure::NotConnected;
        for ip in self.addresses(to).await?.into_iter().take(ADDRESSES) {
            let connecting = TcpStream::connect(SocketAddr::new(ip, to.port));
            match tokio::time::timeout(self.limits.connect, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(_)) => failure = Failure::NotConnected,
                Err(_) => failure = Failure::Timeout,
            }
        }
        Err(failure)
    }

    async fn attempt(&self, post: &Post) -> Result<u16, Failure> {
        let to = Destination::parse(&post.url).map_err(|_| Failure::InvalidUrl)?;
        let request = request(&to, post).ok_or(Failure::InvalidUrl)?;
        let stream = self.connect(&to).await?;
        if !to.tls {
            return self.exchange(stream, request).await;
        }
        let name = ServerName::try_from(to.host.clone()).map_err(|_| Failure::InvalidUrl)?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| tls_failure(&error))?;
        self.exchange(stream, request).await
    }

    /// Sends the request and reads the status. The connection is driven by this future alone: dropped, it is closed.
    async fn exchange<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<u16, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::Broken)?;
        let mut connection = std::pin::pin!(connection);
        let answer = alongside(&mut connection, sender.send_request(request)).await;
        let answer = answer
            .ok_or(Failure::Broken)?
            .map_err(|_| Failure::Broken)?;
        let status = answer.status().as_u16();
        let rest = alongside(&mut connection, some_of(answer.into_body()));
        let _ = tokio::time::timeout(self.limits.body, rest).await;
        Ok(status)
    }
}

#[async_trait]
impl Postman for Client {
    async fn post(&self, post: &Post) -> Sent {
        let most = self.limits.whole + self.limits.body;
        match tokio::time::timeout(most, self.attempt(post)).await {
            Ok(Ok(status)) => Sent::answered(status),
            Ok(Err(failure)) => Sent::failed(failure),
            Err(_) => Sent::failed(Failure::Timeout),
        }
    }
}

/// Waits for something that a connection brings; none where the connection ended before.
async fn alongside<T>(
    connection: &mut (impl Future<Output = hyper::Result<()>> + Unpin),
    what: impl Future<Output = T>,
) -> Option<T> {
    let mut what = std::pin::pin!(what);
    tokio::select! {
        biased;
        done = &mut what => return Some(done),
        ended = connection => drop(ended),
    }
    // What came in before the end is still to be had.
    futures::FutureExt::now_or_never(what)
}

/// Reads some of a body, and lets the rest go.
async fn some_of(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= BODY {
            return;
        }
    }
}

fn request(to: &Destination, post: &Post) -> Option<Request<Full<Bytes>>> {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    Request::post(&to.path)
        .header(header::HOST, value(&to.authority)?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .header(
            header::USER_AGENT,
            concat!("claviger/", env!("CARGO_PKG_VERSION")),
        )
        .header("webhook-id", value(&post.id)?)
        .header("webhook-timestamp", post.timestamp)
        .header("webhook-signature", value(&post.signature)?)
        .body(Full::new(Bytes::copy_from_slice(&post.body)))
        .ok()
}

fn tls_failure(error: &io::Error) -> Failure {
    match error.kind() {
        // What rustls finds fault with.
        io::ErrorKind::InvalidData => Failure::Tls,
        _ => Failure::NotConnected,
    }
}

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let found = CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())?;
    let mut added = 0;
    for certificate in found {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
        added += 1;
    }
    if added == 0 {
        return Err("it has no certificates".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
