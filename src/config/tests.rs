//! Tests of the settings.

use std::path::Path;

use clap::{Args as _, Command, Parser};

use super::faults::name;
use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: ServeArgs,
}

fn args(extra: &[&str]) -> ServeArgs {
    Program::parse_from(["claviger"].iter().chain(extra)).args
}

fn problems(extra: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    validate(extra, environment).unwrap_err().problems
}

fn validate(extra: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    args(extra).validate_with(|name| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn the_defaults_are_valid() {
    let config = validate(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.admin_listen, None);
    assert_eq!(config.http_listen.unwrap().to_string(), "127.0.0.1:9464");
    assert_eq!(config.data_dir, Path::new("claviger-data"));
    assert_eq!(config.default_workspace.as_str(), "default");
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    assert_eq!(config.max_connections, 10_000);
    assert_eq!(config.log_format, LogFormat::Auto);
    assert!(config.root_key.is_none() && config.bootstrap_token.is_none());
}

#[test]
fn every_setting_can_be_given() {
    let config = validate(
        &[
            "--listen=unix:/run/c.sock",
            "--admin-listen=[::1]:0",
            "--http-listen=off",
            "--trusted-proxies=10.0.0.0/8, ::1,",
            "--postback-allow=10.1.0.0/16",
            "--postback-ca-file=ca.pem",
            "--audit-retention=7d",
            "--drain-delay=0s",
            "--log-format=json",
            "--log=warn,claviger=debug",
        ],
        &[
            ("CLAVIGER_ROOT_KEY", &"ab".repeat(32)),
            (
                "CLAVIGER_BOOTSTRAP_TOKEN",
                "hXw2Qm9ZtR4vKc7LpN1sJd8FgB5yUe3A",
            ),
        ],
    )
    .unwrap();
    assert_eq!(config.http_listen, None);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.postback_allow.len(), 1);
    assert_eq!(
        config.postback_ca_file.as_deref(),
        Some(Path::new("ca.pem"))
    );
    assert_eq!(config.audit_retention, Duration::from_secs(7 * 86_400));
    assert_eq!(config.drain_delay, Duration::ZERO);
    assert_eq!(config.root_key, Some(RootKey::from_bytes([0xab; 32])));
    assert!(config.bootstrap_token.is_some());
}

#[test]
fn every_bad_value_is_named_with_flag_and_variable_and_all_at_once() {
    let bad = [
        ("listen", "localhost:1"),
        ("admin-listen", "unix:"),
        ("http-listen", "no"),
        ("default-workspace", "system"),
        ("trusted-proxies", "10.0.0.0/8,nonsense"),
        ("postback-allow", "localhost"),
        ("audit-retention", "6d"),
        ("drain-delay", "6m"),
        ("max-connections", "0"),
        ("max-concurrent-decisions", "-1"),
        ("max-concurrent-admin", "many"),
        ("log-format", "xml"),
        ("log", "claviger=loud"),
    ];
    let flags: Vec<_> = bad.iter().map(|(f, v)| format!("--{f}={v}")).collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let problems = problems(&flags, &[]);
    assert_eq!(problems.len(), bad.len(), "{problems:#?}");
    for ((flag, value), line) in bad.iter().zip(&problems) {
        assert!(
            line.starts_with(&format!("`--{flag}` (`CLAVIGER_")),
            "{line}"
        );
        assert!(line.contains(value) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn names_in_faults_are_the_names_clap_knows() {
    let command = ServeArgs::augment_args(Command::new("serve"));
    for arg in command.get_arguments() {
        let (flag, variable) = (arg.get_long().unwrap(), arg.get_env().unwrap());
        assert_eq!(
            name(flag),
            format!("`--{flag}` (`{}`)", variable.to_str().unwrap())
        );
    }
}

#[test]
fn an_empty_setting_is_a_fault_or_unset_but_never_a_guess() {
    let config = validate(&["--admin-listen=", "--trusted-proxies="], &[]).unwrap();
    assert!(config.admin_listen.is_none() && config.trusted_proxies.is_empty());
    let problems = problems(
        &["--listen=", "--http-listen="],
        &[("CLAVIGER_ROOT_KEY", "")],
    );
    assert_eq!(
        problems,
        [
            "`--listen` (`CLAVIGER_LISTEN`): is empty; give it a value or unset it",
            "`--http-listen` (`CLAVIGER_HTTP_LISTEN`): is empty; give it a value or unset it",
            "`CLAVIGER_ROOT_KEY`: is set but empty; give it a value or unset it",
        ]
    );
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    let found = problems(
        &["--listen=127.0.0.1:9464", "--admin-listen=127.0.0.1:9464"],
        &[],
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(validate(&["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"], &[]).is_ok());
}

#[test]
fn no_fault_echoes_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "short-nobody").unwrap();
    let found = problems(
        &[&format!("--bootstrap-token-file={}", file.display())],
        &[
            ("CLAVIGER_ROOT_KEY", "nobody-may-see-this"),
            ("CLAVIGER_ROOT_KEY_PREVIOUS", "nobody-may-see-that"),
        ],
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found.iter().all(|line| !line.contains("nobody")),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("`--bootstrap-token-file` (`CLAVIGER_BOOTSTRAP_TOKEN_FILE`): must be")
    );
}

#[test]
fn a_secret_comes_from_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, format!("{}\n", "01".repeat(32))).unwrap();
    let flag = format!("--root-key-file={}", file.display());
    let config = validate(&[&flag], &[]).unwrap();
    assert_eq!(config.root_key, Some(RootKey::from_bytes([1; 32])));
    let key = "02".repeat(32);
    let both = problems(&[&flag], &[("CLAVIGER_ROOT_KEY", &key)]);
    assert_eq!(both.len(), 1);
    assert!(
        both[0].contains("`CLAVIGER_ROOT_KEY` is set too"),
        "{both:?}"
    );
    let same = problems(
        &[],
        &[
            ("CLAVIGER_ROOT_KEY", &key),
            ("CLAVIGER_ROOT_KEY_PREVIOUS", &key),
        ],
    );
    assert!(same[0].contains("is the same key"), "{same:?}");
}

#[test]
fn the_settings_table_lists_every_flag_and_secret() {
    let table = settings_table();
    assert!(table.contains("| `--listen` | `CLAVIGER_LISTEN` | `127.0.0.1:50051` | Where"));
    assert!(table.contains("| | `CLAVIGER_ROOT_KEY` | | 32 bytes"));
    assert_eq!(table.lines().count(), 2 + 23 + 4, "{table}");
    assert!(
        table.lines().all(|line| line.matches('|').count() == 5),
        "{table}"
    );
}

#[test]
fn the_readme_has_the_settings_as_they_are() {
    let readme = include_str!("../../README.md");
    assert!(
        readme.contains(settings_table().trim()),
        "put this into README.md:\n{}",
        settings_table()
    );
}

const URL: &str = "postgres://claviger:s3cret%2F@db.example:5433/claviger?sslmode=verify-full";

#[test]
fn postgresql_is_chosen_by_its_url_and_demands_a_root_key() {
    let root = "ab".repeat(32);
    for url in [URL, "postgresql://db.example", "postgres:///c?host=/run/pg"] {
        let config = validate(
            &[],
            &[("CLAVIGER_DATABASE_URL", url), ("CLAVIGER_ROOT_KEY", &root)],
        )
        .unwrap();
        assert_eq!(config.database_url.as_ref().unwrap().reveal(), url);
        assert!(!format!("{config:?}").contains("db.example"));
    }
    let problems = problems(&[], &[("CLAVIGER_DATABASE_URL", URL)]);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("`CLAVIGER_ROOT_KEY`: must be set"));
    assert!(validate(&[], &[]).unwrap().database_url.is_none());
}

#[test]
fn a_bad_database_url_is_told_without_its_password() {
    for (url, fault) in [
        ("", "is set but empty"),
        ("db.example/claviger", "is not a URL"),
        ("postgres://u:s3cret/x@h/d", "percent-encode"),
        ("mysql://u:s3cret@h/d", "is not a PostgreSQL URL"),
        ("sqlite:claviger.db?s3cret", "unset it"),
        ("postgres://u:s3cret@h/d?sslmode=s3cret", "sslmode"),
        ("postgres://u:s3cret@h/d?port=s3cret", "port"),
        ("postgres://u@h/d?passwort=s3cret", "parameter"),
        ("postgres://u:s3cret@h/d#s3cret", "percent-encode"),
    ] {
        let environment = [
            ("CLAVIGER_DATABASE_URL", url),
            ("CLAVIGER_ROOT_KEY", &"ab".repeat(32)),
        ];
        let problems = problems(&[], &environment);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with("`CLAVIGER_DATABASE_URL`: "));
        assert!(problems[0].contains(fault), "{url}: {problems:?}");
        assert!(!problems[0].contains("s3cret"), "{problems:?}");
    }
}
