//! An orderly stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use claviger::grpc::proto::v1::Decision;

use crate::harness::{Folder, PATIENCE, Process, key};

#[test]
fn sigterm_ends_the_process_with_0_whatever_its_peers_do() {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    let admin = process.admin();
    let made = admin.make("default", key("kept", &[]));

    // One that never says a word, one that stops within the preface, one within a frame, and one within a request.
    let _silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(process.grpc()).unwrap())
        .collect();
    let mut half_preface = TcpStream::connect(process.grpc()).unwrap();
    half_preface.write_all(b"PRI * HT").unwrap();
    let mut half_frame = TcpStream::connect(process.grpc()).unwrap();
    half_frame
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00")
        .unwrap();
    let mut half_request = TcpStream::connect(process.http).unwrap();
    half_request.write_all(b"GET /metrics HT").unwrap();

    let status = process.stop();
    assert_eq!(status.code(), Some(0), "{}", process.log.rest());

    let process = Process::start(&folder, &[]);
    let decision = process.admin().decide("default", &made.token);
    assert_eq!(decision.decision(), Decision::Allow);
}

#[test]
fn health_and_metrics_are_served_on_their_own_port() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    for (path, expected) in [("/livez", ""), ("/readyz", ""), ("/metrics", "claviger_")] {
        let mut stream = TcpStream::connect(process.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains(expected), "{path}: {answer}");
    }
}
