//! Where the process listens.

use std::process::{Command, Output};

use crate::harness::{BINARY, Folder, Process, bootstrap_token, repository, tool};

fn grpcurl(args: &[&str]) -> Output {
    let mut command = Command::new(tool("grpcurl"));
    command.arg("-plaintext").args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_listener_for_administration_takes_it_off_the_one_for_decisions() {
    let folder = Folder::new();
    let process = Process::start(&folder, &["--admin-listen", "127.0.0.1:0"]);
    let (decisions, administration) = (process.address("grpc"), process.address("admin"));
    assert_ne!(decisions, administration);

    let key = format!("authorization: Bearer {}", bootstrap_token(&folder.data()));
    for (address, serves, not) in [
        (&decisions, "claviger.v1.Authorize", "claviger.v1.KeyAdmin"),
        (
            &administration,
            "claviger.v1.KeyAdmin",
            "claviger.v1.Authorize",
        ),
    ] {
        // By the proto files: reflection may show more than a listener serves.
        let call = |service: &str| {
            let method = match service {
                "claviger.v1.Authorize" => "claviger.v1.Authorize/Check",
                _ => "claviger.v1.KeyAdmin/ListKeys",
            };
            said(&grpcurl(&[
                "-import-path",
                repository().join("proto").to_str().unwrap(),
                "-proto",
                "claviger/v1/key_admin.proto",
                "-proto",
                "claviger/v1/authorize.proto",
                "-H",
                &key,
                address,
                method,
            ]))
        };
        assert!(!call(serves).contains("Code: Unimplemented"), "{address}");
        assert!(
            call(not).contains("Code: Unimplemented"),
            "{address}: {}",
            call(not)
        );
    }
}

#[test]
fn a_unix_socket_serves_everything_and_goes_with_the_process() {
    let folder = Folder::new();
    // Short, for a Unix socket's path has room for 107 bytes.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("claviger.sock");
    let path = socket.to_str().unwrap();
    let unix = format!("unix:{path}");
    let mut process = Process::start(&folder, &["--listen", &unix]);
    assert_eq!(process.address("grpc"), unix);

    let services = grpcurl(&["-unix", path, "list"]);
    assert!(
        said(&services).contains("claviger.v1.KeyAdmin"),
        "{services:?}"
    );
    let healthy = || {
        let mut command = Command::new(BINARY);
        command.args(["healthcheck", "--endpoint", &unix]);
        command.output().unwrap().status.success()
    };
    assert!(healthy());

    // A socket file that a killed process left behind is no obstacle; an orderly stop leaves none.
    process.kill();
    assert!(!healthy());
    assert!(socket.exists());
    let mut process = Process::start(&folder, &["--listen", &unix]);
    assert!(healthy());
    assert!(process.stop().success());
    assert!(!socket.exists());
}
