//! A receiver of POSTbacks: HTTP/1.1 over TLS, with a certificate of an authority that only tests know.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use super::PATIENCE;

/// An authority for tests, and a certificate of its making for loopback.
pub(crate) struct Authority {
    /// The authority's own certificate, for who is to trust it.
    pub(crate) certificate: PathBuf,
    folder: PathBuf,
}

/// Made once for all tests, with OpenSSL's command.
pub(crate) fn authority() -> &'static Authority {
    static MADE: OnceLock<Authority> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postback-authority");
        if !place.join("server.pem").exists() {
            let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            make(scratch.path());
            // Whoever is first wins; the other one's is as good.
            let _ = std::fs::rename(scratch.keep(), &place);
        }
        Authority {
            certificate: place.join("ca.pem"),
            folder: place,
        }
    })
}

fn make(folder: &Path) {
    let openssl = |args: &str| {
        let output = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "openssl {args}: {said}");
    };
    std::fs::write(
        folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 3650 -subj /CN=tests"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=localhost"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 3650 -extfile names",
    );
}

/// A POSTback that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Arrived {
    /// What it says.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.json()["sequence"].as_u64().unwrap()
    }

    /// Whether this secret signed it, as Standard Webhooks say.
    pub(crate) fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.unwrap()).unwrap();
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signature.split(' ').any(|s| s == expected)
    }
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// With this status.
    Status(u16),
    /// With a redirect to here.
    Redirect(String),
    /// Not at all, until the other side has gone.
    Nothing,
    /// With the end of the connection.
    Cut,
}

/// A receiver; ends when dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    arrived: UnboundedReceiver<Arrived>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let authority = authority();
        let certificate = CertificateDer::from_pem_file(authority.folder.join("server.pem"));
        let key = PrivateKeyDer::from_pem_file(authority.folder.join("server.key"));
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap()], key.unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tell, arrived) = unbounded_channel();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(Answer::Status(204))),
            arrived,
            ended: Arc::default(),
        };
        let (config, answer) = (Arc::new(config), receiver.answer.clone());
        let ended = receiver.ended.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (config, answer, tell) = (config.clone(), answer.clone(), tell.clone());
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    serve(StreamOwned::new(connection, stream), &answer, &tell)
                });
            }
        });
        receiver
    }

    /// Where it takes POSTbacks.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Arrived {
        tokio::time::timeout(PATIENCE, self.arrived.recv())
            .await
            .expect("a POSTback arrives")
            .unwrap()
    }

    /// Waits for so many, in the order of their sequence.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Arrived> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.next().await);
        }
        all.sort_by_key(Arrived::sequence);
        all
    }

    /// What has arrived and was not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Whoever waits for the next connection sees that it was the last.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &Mutex<Answer>,
    tell: &UnboundedSender<Arrived>,
) -> Option<()> {
    let arrived = read(&mut stream)?;
    let answer = answer.lock().unwrap().clone();
    // Told before it is answered: who waits for it may find its outcome not written down yet.
    let _ = tell.send(arrived);
    let text = match answer {
        Answer::Status(status) => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"),
        Answer::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Answer::Nothing => {
            let _ = stream.read(&mut [0]);
            return None;
        }
        Answer::Cut => return None,
    };
    stream.write_all(text.as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

fn read(stream: &mut impl Read) -> Option<Arrived> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        let read = reader.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = std::collections::HashMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let mut take = |name: &str| headers.remove(name).unwrap_or_default();
    Some(Arrived {
        path,
        id: take("webhook-id"),
        timestamp: take("webhook-timestamp"),
        signature: take("webhook-signature"),
        body: String::from_utf8(body).ok()?,
    })
}
