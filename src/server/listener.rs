//! Listening on TCP or on a Unix socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::ListenAddress;
use crate::grpc::guard::PeerAddress;

/// Where a listener listens; a TCP port 0 has become the real one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One end of a connection.
pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// The other.
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A listener.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    /// A Unix socket's file, which goes with the listener.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, that is as well.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. A Unix socket's file may be used by its owner and group alone; one left behind by a process that is gone
    /// is replaced.
    pub(super) async fn bind(address: &ListenAddress) -> io::Result<(Self, BoundAddress)> {
        match address {
            ListenAddress::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let bound = BoundAddress::Tcp(listener.local_addr()?);
                Ok((
                    Self {
                        socket: Socket::Tcp(listener),
                        _file: None,
                    },
                    bound,
                ))
            }
            ListenAddress::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                let bound = BoundAddress::Unix(path.clone());
                Ok((
                    Self {
                        socket: Socket::Unix(listener),
                        _file: Some(SocketFile(path.clone())),
                    },
                    bound,
                ))
            }
        }
    }

    /// Waits for a connection.
    pub(super) async fn accept(&self) -> io::Result<(Reader, Writer, PeerAddress)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small messages both ways: waiting to fill packets costs 40 ms an answer.
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok((
                    Box::pin(reader),
                    Box::pin(writer),
                    PeerAddress::Ip(peer.ip()),
                ))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let (reader, writer) = stream.into_split();
                Ok((Box::pin(reader), Box::pin(writer), PeerAddress::Local))
            }
        }
    }
}

/// Removes a socket that nobody listens on; what is no socket stays, and binding fails.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).await.is_err_and(refused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
