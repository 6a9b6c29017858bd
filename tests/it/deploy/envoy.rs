//! `deploy/envoy-compose.yaml`: the sample, but for what must differ.

use std::process::Command;

use super::read;
use crate::harness::{Sample, repository, tool};

#[test]
fn envoy_takes_the_configuration_and_it_is_the_sample_with_two_clavigers() {
    let file = repository().join("deploy/envoy-compose.yaml");
    let validated = Command::new(tool("envoy"))
        .args(["--mode", "validate", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&validated.stderr);
    assert!(validated.status.success(), "{complained}");

    let mut sample = Sample(body(&read("deploy/envoy.yaml")));
    sample.set(
        "address: 127.0.0.1, port_value: 10000",
        "address: 0.0.0.0, port_value: 10000",
    );
    let endpoint = |host: &str| {
        format!(
            "- endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: 50051 }} }} }}\n"
        )
    };
    let indent = " ".repeat(14);
    sample.set(
        &endpoint("127.0.0.1"),
        &format!(
            "{}{indent}{}",
            endpoint("claviger-1"),
            endpoint("claviger-2")
        ),
    );
    sample.set(
        "address: 127.0.0.1, port_value: 8080",
        "address: service, port_value: 8080",
    );
    let sample = sample.0.replace("type: STATIC", "type: STRICT_DNS");
    let ours = body(&read("deploy/envoy-compose.yaml"));
    for (ours, sample) in ours.lines().zip(sample.lines()) {
        assert_eq!(ours, sample);
    }
    assert_eq!(ours.len(), sample.len());
}

/// Without what the file says of itself.
fn body(text: &str) -> String {
    text.split_once("\nadmin:").unwrap().1.to_owned()
}
