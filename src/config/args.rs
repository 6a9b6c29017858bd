//! The settings as they come: flags, variables, defaults. The README's table is made from them.

use std::path::PathBuf;

use clap::{Args, Command};

/// The secrets of the process. Each is set by its own variable or by a file; an argument would show in the process list.
pub const SECRETS: [SecretSetting; 4] = [
    SecretSetting {
        variable: "CLAVIGER_DATABASE_URL",
        help: "PostgreSQL as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; unset: SQLite in the data directory",
    },
    SecretSetting {
        variable: "CLAVIGER_ROOT_KEY",
        help: "32 bytes, base64 or hexadecimal; unset: made in the data directory; demanded on PostgreSQL",
    },
    SecretSetting {
        variable: "CLAVIGER_ROOT_KEY_PREVIOUS",
        help: "The root key before, while it is being changed",
    },
    SecretSetting {
        variable: "CLAVIGER_BOOTSTRAP_TOKEN",
        help: "Token of the first administrator; unset: made in the data directory",
    },
];

/// A secret that comes by a variable of the environment.
#[derive(Debug, Clone, Copy)]
pub struct SecretSetting {
    /// The variable; the one with `_FILE` after it names a file instead.
    pub variable: &'static str,
    /// What it is, in a line.
    pub help: &'static str,
}

/// The settings as they come, unchecked. Fields are text, so that [`ServeArgs::validate`] can report every fault at once.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct ServeArgs {
    /// Where decisions (and administration) are served: ADDRESS:PORT or unix:PATH
    #[arg(
        long,
        env = "CLAVIGER_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:50051",
        value_name = "ADDRESS"
    )]
    pub listen: String,

    /// A listener for administration alone; unset: `--listen` serves it too
    #[arg(
        long,
        env = "CLAVIGER_ADMIN_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub admin_listen: Option<String>,

    /// Where `/metrics`, `/livez` and `/readyz` are served; `off`: nowhere
    #[arg(
        long,
        env = "CLAVIGER_HTTP_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS"
    )]
    pub http_listen: String,

    /// Directory of the database and of what is made on the first start; made where missing
    #[arg(
        long,
        env = "CLAVIGER_DATA_DIR",
        hide_env_values = true,
        default_value = "claviger-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// File with the database's URL, instead of `CLAVIGER_DATABASE_URL`
    #[arg(
        long,
        env = "CLAVIGER_DATABASE_URL_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub database_url_file: Option<PathBuf>,

    /// File with the root key, instead of `CLAVIGER_ROOT_KEY`
    #[arg(
        long,
        env = "CLAVIGER_ROOT_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub root_key_file: Option<PathBuf>,

    /// File with the root key before, instead of `CLAVIGER_ROOT_KEY_PREVIOUS`
    #[arg(
        long,
        env = "CLAVIGER_ROOT_KEY_PREVIOUS_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub root_key_previous_file: Option<PathBuf>,

    /// File with the first administrator's token, instead of `CLAVIGER_BOOTSTRAP_TOKEN`
    #[arg(
        long,
        env = "CLAVIGER_BOOTSTRAP_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub bootstrap_token_file: Option<PathBuf>,

    /// Workspace of decisions that name none
    #[arg(
        long,
        env = "CLAVIGER_DEFAULT_WORKSPACE",
        hide_env_values = true,
        default_value = "default",
        value_name = "WORKSPACE"
    )]
    pub default_workspace: String,

    /// Networks, separated by commas, whose `x-forwarded-for` is believed; unset: none
    #[arg(
        long,
        env = "CLAVIGER_TRUSTED_PROXIES",
        hide_env_values = true,
        value_name = "CIDRS"
    )]
    pub trusted_proxies: Option<String>,

    /// Networks, separated by commas, that POSTbacks may go to although they are not of the public Internet; unset: none
    #[arg(
        long,
        env = "CLAVIGER_POSTBACK_ALLOW",
        hide_env_values = true,
        value_name = "CIDRS"
    )]
    pub postback_allow: Option<String>,

    /// File with certificates (PEM) of authorities that POSTbacks trust beside the public ones
    #[arg(
        long,
        env = "CLAVIGER_POSTBACK_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub postback_ca_file: Option<PathBuf>,

    /// Stop deciding when no lease can be had of the database: true or false. True: a replica that is cut off refuses all, and no
    /// change waits for it; false: it goes on with what it knows, and changes are not `complete` without it
    #[arg(
        long,
        env = "CLAVIGER_STRICT_REVOCATION",
        hide_env_values = true,
        default_value = "false",
        value_name = "BOOL"
    )]
    pub strict_revocation: String,

    /// What `claviger fleet` calls this process; unset: the name of the machine
    #[arg(
        long,
        env = "CLAVIGER_REPLICA_NAME",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub replica_name: Option<String>,

    /// On PostgreSQL, keep what decisions need in the data directory, sealed, so that a start serves while the database can't be
    /// reached: true or false. With `--strict-revocation` nothing is kept
    #[arg(
        long,
        env = "CLAVIGER_START_WITHOUT_DATABASE",
        hide_env_values = true,
        default_value = "true",
        value_name = "BOOL"
    )]
    pub start_without_database: String,

    /// Tell `/readyz` and gRPC health to be ready after such a start: true or false. False: not before the database is there;
    /// decisions are answered all the same
    #[arg(
        long,
        env = "CLAVIGER_READY_WITHOUT_DATABASE",
        hide_env_values = true,
        default_value = "true",
        value_name = "BOOL"
    )]
    pub ready_without_database: String,

    /// How long changes are kept for the audit log and for who follows them, at least 7d
    #[arg(
        long,
        env = "CLAVIGER_AUDIT_RETENTION",
        hide_env_values = true,
        default_value = "400d",
        value_name = "DURATION"
    )]
    pub audit_retention: String,

    /// How long calls are still taken after `NOT_SERVING` is told, at most 5m
    #[arg(
        long,
        env = "CLAVIGER_DRAIN_DELAY",
        hide_env_values = true,
        default_value = "5s",
        value_name = "DURATION"
    )]
    pub drain_delay: String,

    /// How old a connection of gRPC becomes before its client is asked to open another one, at least 1s, or `off`. So clients
    /// behind a balancer of connections spread over replicas again after a restart. Each goes at 80 to 100 % of it, once its
    /// calls have ended
    #[arg(
        long,
        env = "CLAVIGER_MAX_CONNECTION_AGE",
        hide_env_values = true,
        default_value = "off",
        value_name = "DURATION"
    )]
    pub max_connection_age: String,

    /// Connections at once on each listener; more are closed at once
    #[arg(
        long,
        env = "CLAVIGER_MAX_CONNECTIONS",
        hide_env_values = true,
        default_value = "10000",
        value_name = "COUNT"
    )]
    pub max_connections: String,

    /// Decisions at once; more are refused as overload, with 0 all of them
    #[arg(
        long,
        env = "CLAVIGER_MAX_CONCURRENT_DECISIONS",
        hide_env_values = true,
        default_value = "4096",
        value_name = "COUNT"
    )]
    pub max_concurrent_decisions: String,

    /// Administration calls at once, of one workspace at most half; a quarter more is in reserve for `system`
    #[arg(
        long,
        env = "CLAVIGER_MAX_CONCURRENT_ADMIN",
        hide_env_values = true,
        default_value = "64",
        value_name = "COUNT"
    )]
    pub max_concurrent_admin: String,

    /// How the log is written: auto (pretty on a terminal, else json), json or pretty
    #[arg(
        long,
        env = "CLAVIGER_LOG_FORMAT",
        hide_env_values = true,
        default_value = "auto",
        value_name = "FORMAT"
    )]
    pub log_format: String,

    /// What is logged: a level, or a filter such as `info,claviger::store=debug`
    #[arg(
        long = "log",
        env = "CLAVIGER_LOG",
        hide_env_values = true,
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log_filter: String,
}

/// The settings as a Markdown table for the README, from the definition above, so that the two can't drift apart.
pub fn settings_table() -> String {
    let mut table = String::from("| Flag | Environment | Default | What |\n|---|---|---|---|\n");
    let command = ServeArgs::augment_args(Command::new("serve"));
    for arg in command.get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        let variable = arg
            .get_env()
            .map(|v| v.to_string_lossy())
            .unwrap_or_default();
        let default: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|v| format!("`{}`", v.to_string_lossy()))
            .collect();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = default.join(" ");
        table.push_str(&format!(
            "| `--{flag}` | `{variable}` | {default} | {help} |\n"
        ));
    }
    for SecretSetting { variable, help } in SECRETS {
        table.push_str(&format!("| | `{variable}` | | {help} |\n"));
    }
    table
}
