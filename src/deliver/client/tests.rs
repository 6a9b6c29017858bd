//! Hostile URLs, hostile names, hostile receivers: where the client goes, and how each attempt ends.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::super::resolve::SystemResolver;
use super::*;
use crate::domain::network::{self, IpNet};

/// Names as an attacker's server would answer, one answer after the other; numbers as the operating system reads them.
#[derive(Default)]
struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: AtomicUsize,
}

impl Names {
    fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let answer = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = answers.iter().rev().map(answer).collect();
        self.answers
            .lock()
            .unwrap()
            .insert(name.to_owned(), answers);
        self
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(answers) = self.answers.lock().unwrap().get_mut(host) {
            return answers.pop().ok_or(io::ErrorKind::NotFound.into());
        }
        if host.starts_with(|c: char| c.is_ascii_digit()) || host.starts_with("localhost") {
            return SystemResolver.resolve(host).await;
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

fn client(names: Arc<Names>, allowed: &[&str], limits: Limits) -> Client {
    let nets: Vec<IpNet> = allowed.iter().map(|n| network::parse(n).unwrap()).collect();
    Client::new(names, Allowed::new(nets), limits, None).unwrap()
}

fn post_to(url: &str) -> Post {
    Post {
        url: url.to_owned(),
        id: "evt_1".to_owned(),
        timestamp: 1,
        signature: "v1,x".to_owned(),
        body: Zeroizing::new(b"{}".to_vec()),
    }
}

/// A listener that only counts; what has connected waits to be counted.
struct Trap(std::net::TcpListener);

impl Trap {
    fn at(ip: &str, port: u16) -> Option<Self> {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        let listener = std::net::TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).unwrap();
        Some(Self(listener))
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn connections(&self) -> usize {
        std::iter::from_fn(|| self.0.accept().ok()).count()
    }
}

/// PORT stands for the port of a listener on every loopback address there is.
const HOSTILE: [&str; 66] = [
    // Loopback, plainly.
    "https://127.0.0.1:PORT/",
    "https://127.0.0.2:PORT/",
    "https://127.255.255.254:PORT/",
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://[::1]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "http://127.0.0.1:PORT/",
    "http://localhost:PORT/",
    "http://[::1]:PORT/",
    // Loopback, as numbers that libraries read in their own way.
    "https://2130706433:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.0.0.1:PORT/",
    "https://0x7f.0x0.0x0.0x1:PORT/",
    "https://017700000001:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://0177.0.0.01:PORT/",
    "https://00000177.0.0.1:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://127.0x1:PORT/",
    "https://0:PORT/",
    "https://0.0.0.0:PORT/",
    "https://[::]:PORT/",
    "https://%31%32%37.0.0.1:PORT/",
    "https://127%2e0%2e0%2e1:PORT/",
    "https://127。0。0。1:PORT/",
    "https://①②⑦.⓪.⓪.①:PORT/",
    // IPv4 within IPv6.
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[::ffff:0:127.0.0.1]:PORT/",
    "https://[64:ff9b::127.0.0.1]:PORT/",
    "https://[64:ff9b:1::7f00:1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[2001:0:7f00:1::1]:PORT/",
    // Other networks of one's own, and metadata of clouds.
    "https://10.0.0.1:PORT/",
    "https://172.16.0.1:PORT/",
    "https://192.168.0.1:PORT/",
    "https://100.64.0.1:PORT/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]:PORT/",
    "https://[fe80::1%25lo]:PORT/",
    "https://[fc00::1]:PORT/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://224.0.0.1:PORT/",
    "https://255.255.255.255:PORT/",
    // Names that lead there.
    "https://inside.example:PORT/",
    "https://mapped.example:PORT/",
    "https://both.example:PORT/",
    "https://metadata.example/",
    "https://nothing.example:PORT/",
    // Users, ports, schemes and other ways to be read in two ways.
    "https://user@127.0.0.1:PORT/",
    "https://public.example@127.0.0.1:PORT/",
    "https://public.example:443@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT\\@public.example/",
    "https://public.example#@127.0.0.1:PORT/",
    "https://127.0.0.1:22/",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_POST",
];

#[tokio::test]
async fn hostile_urls_cause_no_connection_and_no_second_look() {
    let first = Trap::at("127.0.0.1", 0).unwrap();
    let port = first.port();
    // A machine without IPv6, or where the port is taken on another address, has fewer traps.
    let others = ["127.0.0.2", "127.255.255.254", "::1"].map(|ip| Trap::at(ip, port));
    let names = Arc::new(
        Names::default()
            .with("inside.example", &[&["127.0.0.1"]])
            .with("mapped.example", &[&["::ffff:127.0.0.1"]])
            .with("both.example", &[&["1.1.1.1", "127.0.0.1"]])
            .with("metadata.example", &[&["169.254.169.254"]])
            .with("nothing.example", &[&[]]),
    );
    let client = client(names.clone(), &[], Limits::default());
    for url in HOSTILE {
        let url = url.replace("PORT", &port.to_string());
        let asked = names.asked.load(Ordering::SeqCst);
        let sent = client.post(&post_to(&url)).await;
        let refused = [
            Failure::InvalidUrl,
            Failure::AddressRefused,
            Failure::NotResolved,
        ];
        assert!(
            sent.failure.is_some_and(|f| refused.contains(&f)),
            "{url}: {sent:?}"
        );
        assert!(names.asked.load(Ordering::SeqCst) <= asked + 1, "{url}");
    }
    let connections = first.connections()
        + others
            .iter()
            .flatten()
            .map(Trap::connections)
            .sum::<usize>();
    assert_eq!(connections, 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_once_and_what_was_checked_is_connected_to() {
    let good = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = good.local_addr().unwrap().port();
    let Some(bad) = Trap::at("127.0.0.1", port) else {
        // Somebody else has that port there: nothing is shown by this run.
        return;
    };
    let names = Arc::new(
        Names::default()
            .with("rebinding.example", &[&["127.0.0.2"], &["127.0.0.1"]])
            .with("mixed.example", &[&["127.0.0.2", "127.0.0.1"]]),
    );
    let client = client(names.clone(), &["127.0.0.2"], Limits::default());
    let url = format!("https://rebinding.example:{port}/");
    let post = post_to(&url);
    let (sent, accepted) = tokio::join!(client.post(&post), async {
        let (stream, _) = good.accept().await.unwrap();
        drop(stream);
    });
    assert_eq!(accepted, ());
    // The connection was made and cut; it is where it went that matters.
    assert!(sent.failure.is_some());
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    // Its second answer is another address, which is refused.
    let again = client.post(&post).await;
    assert_eq!(again, Sent::failed(Failure::AddressRefused));
    let mixed = post_to(&format!("https://mixed.example:{port}/"));
    assert_eq!(
        client.post(&mixed).await,
        Sent::failed(Failure::AddressRefused)
    );
    assert_eq!(bad.connections(), 0);
}

/// A receiver on loopback that reads a request and then does as it is told.
async fn receiver<F>(behave: impl FnOnce(tokio::net::TcpStream) -> F) -> (Sent, String)
where
    F: Future<Output = ()>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = Limits {
        connect: Duration::from_secs(5),
        whole: Duration::from_millis(700),
        body: Duration::from_millis(300),
    };
    let client = client(Arc::new(Names::default()), &["127.0.0.0/8"], limits);
    let post = post_to(&format!("http://127.0.0.1:{port}/hook?x=1"));
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            let mut some = [0; 1_024];
            let n = stream.read(&mut some).await.unwrap();
            assert!(n > 0, "the request is cut");
            request.extend_from_slice(&some[..n]);
        }
        behave(stream).await;
        String::from_utf8(request).unwrap()
    };
    tokio::join!(client.post(&post), serving)
}

async fn answering(answer: String) -> Sent {
    let sent = receiver(async |mut stream| {
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    sent.await.0
}

#[tokio::test]
async fn a_request_is_what_standard_webhooks_say() {
    let (sent, request) = receiver(async |mut stream| {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    assert_eq!(sent, Sent::answered(204));
    let lower = request.to_ascii_lowercase();
    assert!(
        lower.starts_with("post /hook?x=1 http/1.1\r\nhost: 127.0.0.1:"),
        "{lower}"
    );
    for header in [
        "content-type: application/json",
        "webhook-id: evt_1",
        "webhook-timestamp: 1",
        "webhook-signature: v1,x",
        "content-length: 2",
    ] {
        assert!(
            lower.contains(&format!("\r\n{header}\r\n")),
            "{header}: {lower}"
        );
    }
}

#[tokio::test]
async fn only_2xx_is_success_and_410_is_the_end() {
    for (status, failure) in [
        (200, None),
        (201, None),
        (302, Some(Failure::Redirect)),
        (308, Some(Failure::Redirect)),
        (404, Some(Failure::Status)),
        (410, Some(Failure::Gone)),
        (429, Some(Failure::Status)),
        (500, Some(Failure::Status)),
    ] {
        let sent = answering(format!(
            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
        ));
        let expected = Sent {
            status: Some(status),
            failure,
        };
        assert_eq!(sent.await, expected);
    }
}

#[tokio::test]
async fn a_redirect_is_followed_nowhere() {
    let trap = Trap::at("127.0.0.1", 0).unwrap();
    for status in [301, 302, 303, 307, 308] {
        let sent = answering(format!(
            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
            trap.port()
        ));
        assert_eq!(sent.await.failure, Some(Failure::Redirect));
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    for answer in [
        "",
        "no HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncut",
        "HTTP/1.1 999999 X\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
    ] {
        let answer = answer.to_owned();
        let (sent, _) = receiver(async |mut stream| {
            // A large head is refused before it is all sent.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        })
        .await;
        assert_eq!(
            sent,
            Sent::failed(Failure::Broken),
            "{:?}",
            answer.get(..20)
        );
    }
}

#[tokio::test]
async fn who_hangs_or_dribbles_is_left() {
    let (sent, _) = receiver(async |mut stream| {
        let mut rest = Vec::new();
        // Until the client has had enough.
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    assert_eq!(sent, Sent::failed(Failure::Timeout));
    let (sent, _) = receiver(async |mut stream| {
        let mut dribble = tokio::time::interval(Duration::from_millis(20));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(b"y").await.is_ok() {
            dribble.tick().await;
        }
    })
    .await;
    assert_eq!(sent, Sent::failed(Failure::Timeout));
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    for slowly in [false, true] {
        let (sent, _) = receiver(async move |mut stream| {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            let chunk = format!("400\r\n{}\r\n", "z".repeat(1_024));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                if slowly {
                    pace.tick().await;
                }
            }
        })
        .await;
        assert_eq!(sent, Sent::answered(200));
    }
}

#[tokio::test]
async fn nobody_there_is_not_connected() {
    let trap = Trap::at("127.0.0.1", 0).unwrap();
    let port = trap.port();
    drop(trap);
    let names = Arc::new(Names::default());
    let client = client(names, &["127.0.0.0/8"], Limits::default());
    let sent = client
        .post(&post_to(&format!("https://127.0.0.1:{port}/")))
        .await;
    assert_eq!(sent, Sent::failed(Failure::NotConnected));
}

#[test]
fn a_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    let made = |file: &Path| {
        let resolver = Arc::new(SystemResolver);
        Client::new(resolver, Allowed::default(), Limits::default(), Some(file))
    };
    for file in [file, dir.path().join("missing")] {
        let error = made(&file).unwrap_err().to_string();
        assert!(error.contains("--postback-ca-file"), "{error}");
    }
}
