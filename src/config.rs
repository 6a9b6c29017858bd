//! The settings of the process: flags and environment in, one validated [`Config`] out.
//!
//! Invariant: nothing else of the service reads the environment, and nothing opens before all settings are valid.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::domain::id::WorkspaceId;
use crate::domain::invalid::Invalid;
use crate::domain::network::{self, IpNet};
use crate::domain::token::Token;
use faults::{Faults, Source};

mod address;
mod args;
mod database;
mod faults;
mod secret;

pub use address::ListenAddress;
pub use args::{SECRETS, SecretSetting, ServeArgs, settings_table};
pub use database::DatabaseUrl;
pub use secret::{RootKey, read_secret_file};

/// Longest drain delay: an orchestrator would have killed the process by then.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(300);

/// Shortest age of connections: clients that come back more often do little else.
const MIN_CONNECTION_AGE: Duration = Duration::from_secs(1);

/// How often POSTbacks look for what is due: retries, and what other replicas wrote.
const POSTBACK_POLL: Duration = Duration::from_secs(1);

/// Longest name of a replica, in characters.
const MAX_NAME: usize = 128;

/// Shortest time that changes are kept: who follows them may have been away for as long.
const MIN_AUDIT_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl LogFormat {
    /// Whether to write JSON, given whether the log goes to a terminal.
    pub fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Json => true,
            Self::Pretty => false,
        }
    }
}

impl FromStr for LogFormat {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(Invalid::new(
                "is no log format; give `auto`, `json` or `pretty`",
            )),
        }
    }
}

/// The settings of the process, all valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where decisions are served, and administration where it has no listener of its own.
    pub listen: ListenAddress,
    /// A listener for administration alone.
    pub admin_listen: Option<ListenAddress>,
    /// Where metrics and health are served over HTTP.
    pub http_listen: Option<ListenAddress>,
    /// Directory of the database where that is SQLite, of the lock, and of what is made on the first start.
    pub data_dir: PathBuf,
    /// The PostgreSQL database; absent: SQLite in the data directory.
    pub database_url: Option<DatabaseUrl>,
    /// The root key; absent, which it never is with PostgreSQL: made or read in the data directory.
    pub root_key: Option<RootKey>,
    /// The root key before.
    pub root_key_previous: Option<RootKey>,
    /// The first administrator's token; absent: made in the data directory.
    pub bootstrap_token: Option<Token>,
    /// Workspace of decisions that name none; never `system`.
    pub default_workspace: WorkspaceId,
    /// Networks whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that POSTbacks may go to although they are not of the public Internet.
    pub postback_allow: Vec<IpNet>,
    /// Certificates of authorities that POSTbacks trust beside the public ones.
    pub postback_ca_file: Option<PathBuf>,
    /// How often POSTbacks look for what is due without being woken.
    pub postback_poll: Duration,
    /// Whether the process stops deciding when its lease is over.
    pub strict_revocation: bool,
    /// What people call the process; absent: the machine's name.
    pub replica_name: Option<String>,
    /// Whether what decisions need is kept for a start without the database.
    pub start_without_database: bool,
    /// Whether the process is ready after one.
    pub ready_without_database: bool,
    /// How long changes are kept.
    pub audit_retention: Duration,
    /// How long calls are still taken after `NOT_SERVING` is told.
    pub drain_delay: Duration,
    /// How old a connection becomes before its client is asked to open another one; absent: as old as it likes.
    pub max_connection_age: Option<Duration>,
    /// Connections at once.
    pub max_connections: usize,
    /// Decisions at once.
    pub max_concurrent_decisions: usize,
    /// Administration calls at once.
    pub max_concurrent_admin: usize,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing's `EnvFilter`; checked.
    pub log_filter: String,
}

/// Everything that is wrong with the settings, a line each. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The lines: which flag and variable, what is wrong, what to do.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl ServeArgs {
    /// Checks everything and reports every fault at once. Reads the secrets' variables and files.
    pub fn validate(self) -> Result<Config, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "clap reads variables only for flags, and a secret must not have one"
        )]
        self.validate_with(|variable| std::env::var_os(variable))
    }

    /// As [`Self::validate`], with the environment as given.
    pub fn validate_with(
        self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let mut faults = Faults::default();
        let listen = faults.read("listen", &self.listen, str::parse::<ListenAddress>);
        let admin_listen = set(self.admin_listen.as_deref())
            .and_then(|text| faults.read("admin-listen", text, str::parse::<ListenAddress>));
        let http_listen = (self.http_listen != "off")
            .then(|| faults.read("http-listen", &self.http_listen, str::parse))
            .flatten();
        faults.clashes(&[
            ("listen", listen.as_ref()),
            ("admin-listen", admin_listen.as_ref()),
            ("http-listen", http_listen.as_ref()),
        ]);
        if self.data_dir.as_os_str().is_empty() {
            faults.add("data-dir", "is empty; name a directory");
        }

        let [database, root, previous, bootstrap] = SECRETS.map(|s| s.variable);
        let from = |variable, flag, file| Source {
            variable,
            flag,
            file,
            value: environment(variable),
        };
        let database_given = environment(database).is_some() || self.database_url_file.is_some();
        let root_given = environment(root).is_some() || self.root_key_file.is_some();
        let database_url = faults.secret(
            from(database, "database-url-file", self.database_url_file),
            str::parse::<DatabaseUrl>,
        );
        if database_given && !root_given {
            faults.lines.push(format!(
                "`{root}`: must be set where `{database}` is: every process on one database shares it; `openssl rand -base64 32` makes one"
            ));
        }
        let root_key = faults.secret(
            from(root, "root-key-file", self.root_key_file),
            str::parse::<RootKey>,
        );
        let root_key_previous = faults.secret(
            from(
                previous,
                "root-key-previous-file",
                self.root_key_previous_file,
            ),
            str::parse,
        );
        let bootstrap_token = faults.secret(
            from(bootstrap, "bootstrap-token-file", self.bootstrap_token_file),
            secret::bootstrap_token,
        );
        if root_key.is_some() && root_key == root_key_previous {
            faults.lines.push(format!(
                "`{previous}`: is the same key as `{root}`; unset it once the root key has been changed"
            ));
        }

        let default_workspace =
            faults.read("default-workspace", &self.default_workspace, workspace);
        let trusted_proxies = faults.read(
            "trusted-proxies",
            self.trusted_proxies.as_deref().unwrap_or_default(),
            networks,
        );
        let postback_allow = faults.read(
            "postback-allow",
            self.postback_allow.as_deref().unwrap_or_default(),
            networks,
        );
        let postback_ca_file = self
            .postback_ca_file
            .filter(|file| !file.as_os_str().is_empty());
        let strict_revocation = faults.read("strict-revocation", &self.strict_revocation, flag);
        let replica_name = set(self.replica_name.as_deref())
            .map(|name| faults.read("replica-name", name, replica_name));
        let start_without_database =
            faults.read("start-without-database", &self.start_without_database, flag);
        let ready_without_database =
            faults.read("ready-without-database", &self.ready_without_database, flag);
        let audit_retention =
            faults.read("audit-retention", &self.audit_retention, audit_retention);
        let drain_delay = faults.read("drain-delay", &self.drain_delay, drain_delay);
        let max_connection_age = faults.read(
            "max-connection-age",
            &self.max_connection_age,
            connection_age,
        );
        let max_connections = faults.read("max-connections", &self.max_connections, count);
        let max_concurrent_decisions = faults.read(
            "max-concurrent-decisions",
            &self.max_concurrent_decisions,
            decisions,
        );
        let max_concurrent_admin =
            faults.read("max-concurrent-admin", &self.max_concurrent_admin, count);
        let log_format = faults.read("log-format", &self.log_format, str::parse);
        let log_filter = faults.read("log", &self.log_filter, log_filter);

        let config = (|| {
            Some(Config {
                listen: listen?,
                admin_listen,
                http_listen,
                data_dir: self.data_dir,
                database_url,
                root_key,
                root_key_previous,
                bootstrap_token,
                default_workspace: default_workspace?,
                trusted_proxies: trusted_proxies?,
                postback_allow: postback_allow?,
                postback_ca_file,
                postback_poll: POSTBACK_POLL,
                strict_revocation: strict_revocation?,
                replica_name: match replica_name {
                    Some(name) => Some(name?),
                    None => None,
                },
                start_without_database: start_without_database?,
                ready_without_database: ready_without_database?,
                audit_retention: audit_retention?,
                drain_delay: drain_delay?,
                max_connection_age: max_connection_age?,
                max_connections: max_connections?,
                max_concurrent_decisions: max_concurrent_decisions?,
                max_concurrent_admin: max_concurrent_admin?,
                log_format: log_format?,
                log_filter: log_filter?,
            })
        })();
        match config {
            Some(config) if faults.lines.is_empty() => Ok(config),
            _ => Err(ConfigError {
                problems: faults.lines,
            }),
        }
    }
}

/// An optional setting; a variable that is set but empty counts as unset, as deployments often write it so.
fn set(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn flag(text: &str) -> Result<bool, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new("is neither `true` nor `false`"))
}

fn replica_name(text: &str) -> Result<String, Invalid> {
    let good = text.chars().count() <= MAX_NAME && !text.chars().any(char::is_control);
    match good {
        true => Ok(text.to_owned()),
        false => Err(Invalid::new(format!(
            "must be at most {MAX_NAME} characters, without control characters"
        ))),
    }
}

fn workspace(text: &str) -> Result<WorkspaceId, Invalid> {
    let id: WorkspaceId = text.parse()?;
    if id.is_system() {
        return Err(Invalid::new(
            "is reserved for administrators and opens nothing; choose another workspace",
        ));
    }
    Ok(id)
}

fn networks(text: &str) -> Result<Vec<IpNet>, Invalid> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            network::parse(part).map_err(|fault| Invalid::new(format!("at `{part}`: {fault}")))
        })
        .collect()
}

fn audit_retention(text: &str) -> Result<Duration, Invalid> {
    match humantime::parse_duration(text) {
        Ok(kept) if kept >= MIN_AUDIT_RETENTION => Ok(kept),
        Ok(_) => Err(Invalid::new("is too short; at least `7d`")),
        Err(_) => Err(Invalid::new(
            "is no duration; give a number and a unit such as `400d`",
        )),
    }
}

fn drain_delay(text: &str) -> Result<Duration, Invalid> {
    match humantime::parse_duration(text) {
        Ok(delay) if delay <= MAX_DRAIN_DELAY => Ok(delay),
        Ok(_) => Err(Invalid::new("is too long; at most `5m`")),
        Err(_) => Err(Invalid::new(
            "is no duration; give a number and a unit such as `5s` or `1m`",
        )),
    }
}

fn connection_age(text: &str) -> Result<Option<Duration>, Invalid> {
    if text == "off" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(age) if age >= MIN_CONNECTION_AGE => Ok(Some(age)),
        Ok(_) => Err(Invalid::new(
            "is too short; at least `1s`, or `off` for connections of any age",
        )),
        Err(_) => Err(Invalid::new(
            "is neither `off` nor a duration; give a number and a unit such as `30m`",
        )),
    }
}

fn count(text: &str) -> Result<usize, Invalid> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(Invalid::new("is no whole number from 1 to 1000000")),
    }
}

/// None at all is for whoever tests how callers stand an overload.
fn decisions(text: &str) -> Result<usize, Invalid> {
    if text == "0" { Ok(0) } else { count(text) }
}

fn log_filter(text: &str) -> Result<String, Invalid> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| {
            Invalid::new(
                "is no log filter; give `error`, `warn`, `info`, `debug` or `trace`, or a list such as `info,claviger=debug`",
            )
        })
}

#[cfg(test)]
mod tests;
