//! A proxy for the faults of a network: between a process and its database, or between any two. It forwards bytes as they
//! come, until it is told not to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much is forwarded in one go.
const CHUNK: usize = 16 * 1_024;

/// Where the connections lead.
#[derive(Debug, Clone)]
enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How it treats what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It forwards everything.
    None,
    /// Each piece comes so much later.
    Delay(Duration),
    /// Connections stay open, new ones are taken, and nothing passes until the fault is over: then all of it does.
    Freeze,
    /// Requests pass, answers don't, until the fault is over: what is done is not known to have been done.
    Mute,
    /// Connections end, and so do new ones, at once.
    Refuse,
}

/// Which way a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// What holds at the moment. Connections of an earlier generation end.
#[derive(Debug, Clone, Copy)]
struct Weather {
    fault: Fault,
    generation: u64,
}

impl Weather {
    fn holds(self, way: Way) -> bool {
        match self.fault {
            Fault::Freeze => true,
            Fault::Mute => way == Way::Back,
            Fault::None | Fault::Delay(_) | Fault::Refuse => false,
        }
    }

    fn ends(self, born: u64) -> bool {
        self.fault == Fault::Refuse || self.generation != born
    }
}

/// A running proxy. All its connections end with it.
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Ends everything when it is dropped.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// One before a server that listens on a TCP address.
    pub(crate) fn before(address: SocketAddr) -> Self {
        Self::start(Upstream::Tcp(address))
    }

    /// One before a server that listens on a Unix socket.
    pub(crate) fn before_socket(path: &Path) -> Self {
        Self::start(Upstream::Unix(path.to_owned()))
    }

    fn start(upstream: Upstream) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let weather = watch::Sender::new(Weather {
            fault: Fault::None,
            generation: 0,
        });
        runtime.spawn(accept(listener, upstream, weather.subscribe()));
        Self {
            address,
            weather,
            runtime: Some(runtime),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it does this.
    pub(crate) fn set(&self, fault: Fault) {
        self.weather.send_modify(|weather| weather.fault = fault);
    }

    /// Ends all connections there are; new ones are as the fault has it.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.generation += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, upstream: Upstream, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        let _ = client.set_nodelay(true);
        connections.spawn(serve(client, upstream.clone(), weather.clone()));
        // What has ended need not be kept.
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, upstream: Upstream, mut weather: watch::Receiver<Weather>) {
    let born = weather.borrow().generation;
    // A frozen network brings nobody to the server either.
    if !passes(&mut weather, born, Way::There).await {
        return;
    }
    let (from, to) = client.into_split();
    match upstream {
        Upstream::Tcp(address) => {
            if let Ok(server) = TcpStream::connect(address).await {
                let _ = server.set_nodelay(true);
                let (back, there) = server.into_split();
                both(from, there, back, to, born, weather).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                let (back, there) = server.into_split();
                both(from, there, back, to, born, weather).await;
            }
        }
    }
}

/// Forwards both ways until one of them breaks, or both are at their end.
async fn both(
    from: impl AsyncRead + Unpin,
    there: impl AsyncWrite + Unpin,
    back: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    born: u64,
    weather: watch::Receiver<Weather>,
) {
    let mut out = pin!(pump(from, there, Way::There, born, weather.clone()));
    let mut home = pin!(pump(back, to, Way::Back, born, weather));
    tokio::select! {
        end = &mut out => if end == End::Said { home.await; },
        end = &mut home => if end == End::Said { out.await; },
    }
}

/// How one way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender has no more to say, and the receiver knows.
    Said,
    /// The connection is broken.
    Broken,
}

/// Forwards one way. That the sender has no more to say is forwarded, too, and the other way goes on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    born: u64,
    mut weather: watch::Receiver<Weather>,
) -> End {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            _ = weather.wait_for(|now| now.ends(born)) => return End::Broken,
        };
        let fault = weather.borrow().fault;
        if let Fault::Delay(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        if !passes(&mut weather, born, way).await {
            return End::Broken;
        }
        match read {
            Ok(0) if to.shutdown().await.is_ok() => return End::Said,
            Ok(n) if n > 0 && to.write_all(&chunk[..n]).await.is_ok() => {}
            _ => return End::Broken,
        }
    }
}

/// Waits while a piece is held up; false where the connection ended instead.
async fn passes(weather: &mut watch::Receiver<Weather>, born: u64, way: Way) -> bool {
    let clear = weather.wait_for(|now| now.ends(born) || !now.holds(way));
    clear.await.is_ok_and(|now| !now.ends(born))
}

#[test]
fn what_passes_is_forwarded_held_up_or_cut_as_told() {
    use std::io::{ErrorKind, Read as _, Write as _};
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let proxy = Proxy::before(server.local_addr().unwrap());
    let connect = || std::net::TcpStream::connect(proxy.address()).unwrap();
    let take = |stream: &mut std::net::TcpStream| {
        let mut byte = [0];
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        let read = stream.read(&mut byte);
        read.map(|n| (n, byte[0]))
    };
    // That nothing comes can only be seen by looking for a while; too short a look shows nothing wrong.
    let silent = |stream: &mut std::net::TcpStream| {
        let look = Duration::from_millis(50);
        stream.set_read_timeout(Some(look)).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
    };

    let mut client = connect();
    let (mut served, _) = server.accept().unwrap();
    client.write_all(b"a").unwrap();
    assert_eq!(take(&mut served).unwrap(), (1, b'a'));
    served.write_all(b"b").unwrap();
    assert_eq!(take(&mut client).unwrap(), (1, b'b'));

    proxy.set(Fault::Freeze);
    client.write_all(b"c").unwrap();
    silent(&mut served);
    proxy.set(Fault::Mute);
    assert_eq!(take(&mut served).unwrap(), (1, b'c'));
    served.write_all(b"d").unwrap();
    silent(&mut client);
    proxy.set(Fault::Delay(Duration::from_millis(1)));
    assert_eq!(take(&mut client).unwrap(), (1, b'd'));

    proxy.cut();
    assert!(matches!(take(&mut client), Ok((0, _)) | Err(_)));
    let mut again = connect();
    let (mut served, _) = server.accept().unwrap();
    again.write_all(b"e").unwrap();
    assert_eq!(take(&mut served).unwrap(), (1, b'e'));

    proxy.set(Fault::Refuse);
    assert!(matches!(take(&mut again), Ok((0, _)) | Err(_)));
    assert!(matches!(take(&mut connect()), Ok((0, _)) | Err(_)));
}
