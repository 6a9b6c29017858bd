//! How the command reaches the server and says who it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper_util::rt::TokioIo;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure, root_cause};
use super::io::Io;
use super::profile::{Profiles, StoredToken, same_endpoint};
use crate::config::{ListenAddress, read_secret_file};

pub(super) const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
/// How often a quiet connection is tried, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Debug, Clone, Args)]
pub(super) struct EndpointOptions {
    /// The server: http://ADDRESS:PORT or unix:PATH [default: the profile's, else `http://127.0.0.1:50051`]
    #[arg(
        long,
        global = true,
        env = "CLAVIGER_ENDPOINT",
        hide_env_values = true,
        value_name = "ENDPOINT",
        help_heading = "Connection"
    )]
    pub(super) endpoint: Option<String>,

    /// The profile (`claviger login`) whose endpoint and token to use [default: the current one]
    #[arg(
        long,
        global = true,
        env = "CLAVIGER_PROFILE",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub(super) profile: Option<String>,

    /// How long a call may take
    #[arg(long, global = true, default_value = "10s", value_parser = humantime::parse_duration, value_name = "DURATION", help_heading = "Connection")]
    pub(super) timeout: Duration,
}

/// Who calls.
#[derive(Debug, Clone, Args)]
pub(super) struct TokenOptions {
    /// File with the caller's token [default: the variable `CLAVIGER_TOKEN`, else the profile's, else `bootstrap-token` in
    /// `CLAVIGER_DATA_DIR`]
    #[arg(
        long,
        global = true,
        env = "CLAVIGER_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub(super) token_file: Option<PathBuf>,
}

/// How results are written.
#[derive(Debug, Clone, Args)]
pub(super) struct OutputOptions {
    /// Tables for people, or the JSON of the API's answer (its field names, RFC 3339 times, enums without prefix)
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, value_name = "FORMAT", help_heading = "Output")]
    pub(super) output: Output,
}

impl OutputOptions {
    pub(super) fn is_table(&self) -> bool {
        self.output == Output::Table
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// Which workspace.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkspaceOption {
    /// The workspace [default: the caller's own, or the server's default one]
    #[arg(
        short,
        long,
        global = true,
        default_value = "",
        hide_default_value = true,
        value_name = "WORKSPACE",
        help_heading = "Connection"
    )]
    pub(super) workspace: String,
}

/// Puts the caller's token into every request, and how long an answer is of use.
#[derive(Clone)]
pub(super) struct Caller {
    token: MetadataValue<Ascii>,
    timeout: Option<Duration>,
}

impl Caller {
    /// Who has this token. Without a timeout for calls that last as long as they must.
    pub(super) fn of(token: &str, timeout: Option<Duration>) -> Result<Self, Failure> {
        let header = Zeroizing::new(format!("Bearer {token}"));
        let mut value: MetadataValue<Ascii> = header.parse().map_err(|_| {
            Failure::usage(
                "the caller's token is not visible ASCII text; check where it comes from",
            )
        })?;
        value.set_sensitive(true);
        Ok(Self {
            token: value,
            timeout,
        })
    }
}

impl tonic::service::Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.token.clone());
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        Ok(request)
    }
}

/// A connection whose calls say who makes them.
pub(super) type Connection = InterceptedService<Channel, Caller>;

/// The server that is meant, and the token that is stored for it.
#[derive(Debug)]
pub(super) struct Target {
    endpoint: String,
    token: Option<StoredToken>,
    /// A profile whose token is kept back, for it is another endpoint's.
    kept_back: Option<String>,
}

impl EndpointOptions {
    /// Which server is meant: what is given, else the profile's, else the usual one. Profiles that nothing is wanted of are
    /// not read, so that they can't be in the way.
    fn target(&self, needs_token: bool, io: &Io<'_>) -> Result<Target, Failure> {
        let profile = if self.profile.is_some() || self.endpoint.is_none() || needs_token {
            Profiles::load(io)?.pick(self.profile.as_deref())?
        } else {
            None
        };
        let (endpoint, token, kept_back) = match (self.endpoint.clone(), profile) {
            (None, None) => (DEFAULT_ENDPOINT.to_owned(), None, None),
            (None, Some((_, profile))) => (profile.endpoint, Some(profile.token), None),
            (Some(given), Some((_, profile))) if same_endpoint(&given, &profile.endpoint) => {
                (given, Some(profile.token), None)
            }
            (Some(given), other) => (given, None, other.map(|(name, _)| name)),
        };
        Ok(Target {
            endpoint,
            token,
            kept_back,
        })
    }

    /// Connects without saying who calls.
    pub(super) async fn connect(&self, io: &Io<'_>) -> Result<Channel, Failure> {
        open(&self.target(false, io)?.endpoint, self.timeout).await
    }

    /// A request that says how long an answer is of use.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

impl super::Common {
    /// Connects as the caller.
    pub(super) async fn connect(&self, io: &Io<'_>) -> Result<Connection, Failure> {
        connect(&self.endpoint, &self.token, Some(self.endpoint.timeout), io).await
    }

    /// Connects as the caller, for calls that last as long as they must.
    pub(super) async fn connect_to_stream(&self, io: &Io<'_>) -> Result<Connection, Failure> {
        connect(&self.endpoint, &self.token, None, io).await
    }
}

/// Connects as the caller that the options name.
pub(super) async fn connect(
    endpoint: &EndpointOptions,
    token: &TokenOptions,
    timeout: Option<Duration>,
    io: &Io<'_>,
) -> Result<Connection, Failure> {
    let target = endpoint.target(!token.is_given(io), io)?;
    let token = token.find(&target, io)?;
    let caller = Caller::of(token.trim(), timeout)?;
    let channel = open(&target.endpoint, endpoint.timeout).await?;
    Ok(InterceptedService::new(channel, caller))
}

/// Whether the server is surely on this machine.
fn is_local(endpoint: &str) -> bool {
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let authority = authority.trim_end_matches('/');
    endpoint.starts_with("unix:")
        || authority
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.ip().is_loopback())
        || authority
            .strip_prefix("localhost:")
            .is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Opens a connection now, so that a server that is not there is told apart from one that fails.
pub(super) async fn open(endpoint: &str, timeout: Duration) -> Result<Channel, Failure> {
    let unreachable = |error: tonic::transport::Error| {
        Failure::new(
            Exit::Unreachable,
            format!("`{endpoint}` can't be reached: {}", root_cause(&error)),
        )
        .hint("is the server running (`claviger serve`)? `--endpoint` or `CLAVIGER_ENDPOINT` names another one")
    };
    // A stream may be quiet for as long as it must; whether the other side is still there is asked of it beneath.
    let configure = |e: Endpoint| {
        e.connect_timeout(timeout)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
    };
    if let Some(path) = endpoint.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(path).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The address is for the `:authority` header alone; the connector goes to the socket.
        return configure(Endpoint::from_static("http://localhost"))
            .connect_with_connector(connector)
            .await
            .map_err(unreachable);
    }
    configure(parse(endpoint)?)
        .connect()
        .await
        .map_err(unreachable)
}

fn parse(endpoint: &str) -> Result<Endpoint, Failure> {
    let wrong = || {
        Failure::usage(format!("`{endpoint}` is no endpoint"))
            .hint("give `http://ADDRESS:PORT` or `unix:PATH`")
    };
    if endpoint.starts_with("https://") {
        return Err(
            Failure::usage(format!("`{endpoint}`: the command speaks no TLS")).hint(
                "go through a local proxy that does, or use `http://ADDRESS:PORT` or `unix:PATH`",
            ),
        );
    }
    let text = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    };
    if !text.starts_with("http://") {
        return Err(wrong());
    }
    Endpoint::from_shared(text).map_err(|_| wrong())
}

/// Where to reach a server on this machine that listens at this address.
pub(super) fn endpoint_of(listen: &ListenAddress) -> String {
    match listen {
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
        ListenAddress::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(match address {
                    SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                });
            }
            format!("http://{address}")
        }
    }
}

impl TokenOptions {
    /// Whether a file or the variable says the caller's token.
    fn is_given(&self, io: &Io<'_>) -> bool {
        self.token_file.is_some()
            || (io.environment)("CLAVIGER_TOKEN").is_some_and(|token| !token.is_empty())
    }

    /// Finds the caller's token: the file that is named, the variable, the profile, the file of the first start.
    fn find(&self, target: &Target, io: &Io<'_>) -> Result<Zeroizing<String>, Failure> {
        match (
            &self.token_file,
            (io.environment)("CLAVIGER_TOKEN"),
            &target.token,
        ) {
            (Some(path), _, _) => secret_file("`--token-file` (`CLAVIGER_TOKEN_FILE`)", path),
            (None, Some(value), _) if !value.is_empty() => value
                .into_string()
                .map(Zeroizing::new)
                .map_err(|_| Failure::usage("`CLAVIGER_TOKEN` is not UTF-8 text")),
            (None, _, Some(stored)) => Ok(Zeroizing::new(stored.reveal().to_owned())),
            (None, _, None) => bootstrap(target, io),
        }
    }
}

fn bootstrap(target: &Target, io: &Io<'_>) -> Result<Zeroizing<String>, Failure> {
    let mut none = Failure::new(Exit::Denied, "there is no token to call the server with").hint(
        "`claviger login` keeps one; or name a file with `--token-file`, or set `CLAVIGER_TOKEN`",
    );
    if let Some(name) = &target.kept_back {
        none = none.hint(format!(
            "the token of profile `{name}` is for another endpoint, and stays here"
        ));
    }
    let dir = (io.environment)("CLAVIGER_DATA_DIR").filter(|dir| !dir.is_empty());
    // An administrator's token that happens to lie in the current directory must not go to somebody else's server.
    if dir.is_none() && !is_local(&target.endpoint) {
        return Err(none.hint(
            "the token of the first start is only for a server on this machine, or with `CLAVIGER_DATA_DIR` set",
        ));
    }
    let path = PathBuf::from(dir.unwrap_or_else(|| "claviger-data".into())).join("bootstrap-token");
    if path.exists() {
        return secret_file("the token of the first start", &path);
    }
    Err(none.hint(format!("`{}` does not exist either", path.display())))
}

fn secret_file(what: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    read_secret_file(path).map_err(|fault| Failure::invalid(what, &fault))
}

#[cfg(test)]
mod tests;
