//! `deploy/Dockerfile` and `.dockerignore`.

use std::fs;
use std::process::Command;

use super::read;
use crate::harness::{repository, tool};

#[test]
fn the_linter_of_dockerfiles_has_nothing_to_say() {
    let lint = |file: &std::path::Path| Command::new(tool("hadolint")).arg(file).output().unwrap();
    let linted = lint(&repository().join("deploy/Dockerfile"));
    assert!(
        linted.status.success(),
        "{}",
        String::from_utf8_lossy(&linted.stdout)
    );

    // It does see what is wrong.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Dockerfile");
    fs::write(&file, "FROM debian\nRUN cd /tmp\n").unwrap();
    assert!(!lint(&file).status.success());
}

/// The instructions of the last stage.
fn final_stage() -> Vec<String> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty());
    let mut stage = Vec::new();
    for line in lines {
        if line.starts_with("FROM ") {
            stage.clear();
        }
        stage.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    stage
}

#[test]
fn the_image_runs_the_server_as_a_numbered_user_and_says_how_it_is() {
    let stage = final_stage();
    let of = |word: &str| {
        let all: Vec<_> = stage.iter().filter_map(|l| l.strip_prefix(word)).collect();
        assert_eq!(all.len(), 1, "{word}: {stage:?}");
        all[0].trim().to_owned()
    };
    let user = of("USER");
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0);
    let program = "/usr/local/bin/claviger";
    assert!(of("HEALTHCHECK").ends_with(&format!("CMD [\"{program}\", \"healthcheck\"]")));
    assert_eq!(of("ENTRYPOINT"), format!("[\"{program}\"]"));
    assert_eq!(of("CMD"), "[\"serve\"]");
    assert_eq!(of("STOPSIGNAL"), "SIGTERM");

    let table = claviger::config::settings_table();
    for setting in of("ENV").split(' ') {
        let (name, _) = setting.split_once('=').unwrap();
        assert!(table.contains(&format!("| `{name}` |")), "`{name}`");
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_repository_and_what_it_copies_is_enough() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find(|l| l.starts_with("channel"))
        .unwrap();
    let version = channel.split('"').nth(1).unwrap();
    let declared = read("Cargo.toml");
    let declared = declared
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap();
    assert!(
        version.starts_with(declared.trim_matches('"')),
        "{declared}"
    );
    let argument = read("deploy/Dockerfile");
    let argument = argument
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_VERSION="))
        .unwrap();
    assert!(argument == version || argument.starts_with(&format!("{version}.")));

    // The context as `.dockerignore` leaves it: cargo finds every target, and the protos are there.
    let context = tempfile::tempdir().unwrap();
    let ignore = read(".dockerignore");
    let rules: Vec<_> = ignore.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(rules[0], "*", "nothing goes in that is not named");
    for rule in &rules[1..] {
        let name = rule.strip_prefix('!').unwrap();
        let copied = Command::new("cp")
            .arg("-r")
            .arg(repository().join(name))
            .arg(context.path())
            .status()
            .unwrap();
        assert!(copied.success(), "{name}");
    }
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(context.path())
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{complained}");
    assert!(context.path().join("proto/claviger/v1/key.proto").is_file());
}
