//! The service behind Envoy: answers every request with what arrived, and counts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

/// An HTTP/1.1 server whose answers say what it was asked.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || serve(&stream, &counter));
            }
        });
        Self { address, count }
    }

    /// How many requests arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: &TcpStream, counter: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let request = line(&mut reader)?;
        let (method, rest) = request.split_once(' ')?;
        let (path, _) = rest.split_once(' ')?;
        let mut headers = Vec::new();
        let mut length = 0;
        loop {
            let header = line(&mut reader)?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
            headers.push([name.to_ascii_lowercase(), value.trim().to_owned()]);
        }
        let mut sent = vec![0; length];
        reader.read_exact(&mut sent).ok()?;
        let sent = String::from_utf8_lossy(&sent);
        counter.fetch_add(1, Ordering::SeqCst);
        let body =
            json!({ "method": method, "path": path, "headers": headers, "body": sent }).to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
    }
}

fn line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}
