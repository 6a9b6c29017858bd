//! `claviger login`, `logout` and `profiles`.

use clap::{Args, Subcommand};
use serde_json::json;
use tonic::Code;
use zeroize::Zeroizing;

use super::connect::{DEFAULT_ENDPOINT, EndpointOptions, OutputOptions, TokenOptions};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::profile::{Profile, Profiles, StoredToken, no_such};
use super::{connect, input, show, table};
use crate::grpc::proto::v1;

/// The profile that `login` makes where none is named.
const FIRST: &str = "default";

/// Log in: keep an endpoint and a token for the commands to come.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger login                                                 # asks for both
  claviger login --profile prod --endpoint http://10.0.0.5:50051
  claviger login --endpoint unix:/run/claviger.sock --token-file - < token

The token is asked for at the terminal without being shown, or read from `--token-file`; it is tried with a call, and kept
with the endpoint in `claviger/profiles.json` of your configuration directory (`XDG_CONFIG_HOME`, else `~/.config`), for you
alone. It is sent to that endpoint and to no other.

What counts, for the endpoint and for the token, each by itself: the flag, else the variable (`CLAVIGER_ENDPOINT`;
`CLAVIGER_TOKEN_FILE`, `CLAVIGER_TOKEN`), else the profile (`--profile`, `CLAVIGER_PROFILE`, or the one last logged in to or
chosen with `profiles use`), else the default (`http://127.0.0.1:50051`; `bootstrap-token` in `CLAVIGER_DATA_DIR`).")]
pub struct LoginArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    #[command(flatten)]
    token: TokenOptions,
}

/// Forget a profile and its token.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Which profile [default: the current one]
    #[arg(
        long,
        env = "CLAVIGER_PROFILE",
        hide_env_values = true,
        value_name = "NAME"
    )]
    profile: Option<String>,
}

/// See and choose profiles: endpoints that you logged in to.
#[derive(Debug, Args)]
pub struct ProfilesArgs {
    #[command(flatten)]
    output: OutputOptions,
    #[command(subcommand)]
    command: ProfilesCommand,
}

#[derive(Debug, Subcommand)]
enum ProfilesCommand {
    /// List profiles, without their tokens
    List,
    /// Use a profile from now on where none is named
    Use(NameArg),
    /// Forget a profile and its token
    Remove(NameArg),
}

#[derive(Debug, Args)]
struct NameArg {
    /// The profile's name
    name: String,
}

pub(super) async fn login(args: LoginArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let name = args
        .endpoint
        .profile
        .clone()
        .unwrap_or_else(|| FIRST.to_owned());
    if name.is_empty() || name.chars().any(|c| c.is_control()) {
        return Err(Failure::usage(
            "a profile's name is not empty and has no control characters",
        ));
    }
    // Before anything is asked for: what can't be kept need not be typed.
    let mut profiles = Profiles::load(io)?;
    let endpoint = endpoint(&args, profiles.profiles.get(&name), io)?;
    let token = token(&args, io)?;
    let caller = connect::Caller::of(token.trim(), Some(args.endpoint.timeout))?;
    let channel = connect::open(&endpoint, args.endpoint.timeout).await?;
    let probe = v1::ListKeysRequest {
        page_size: 1,
        ..Default::default()
    };
    let mut client = v1::key_admin_client::KeyAdminClient::with_interceptor(channel, caller);
    match client.list_keys(probe).await {
        Ok(_) => {}
        // The server knows the token; what it may do is another matter.
        Err(status) if status.code() == Code::PermissionDenied => {
            io.note("the token is good, and may not list keys");
        }
        Err(status) => return Err(status.into()),
    }
    let profile = Profile {
        endpoint: endpoint.clone(),
        token: StoredToken::new(token.trim().to_owned()),
    };
    profiles.profiles.insert(name.clone(), profile);
    profiles.current = Some(name.clone());
    profiles.save(io)?;
    io.note(format_args!(
        "logged in to `{endpoint}` as profile `{}`",
        table::clean(&name)
    ));
    Ok(Exit::Ok)
}

fn endpoint(args: &LoginArgs, known: Option<&Profile>, io: &mut Io<'_>) -> Result<String, Failure> {
    if let Some(endpoint) = &args.endpoint.endpoint {
        return Ok(endpoint.clone());
    }
    let usual = known.map_or(DEFAULT_ENDPOINT, |profile| profile.endpoint.as_str());
    let Some(person) = &mut io.person else {
        return Ok(usual.to_owned());
    };
    let answer = person
        .line(&format!("Endpoint [{usual}]: "))
        .map_err(unheard)?;
    Ok(match answer.trim() {
        "" => usual.to_owned(),
        given => given.to_owned(),
    })
}

fn token(args: &LoginArgs, io: &mut Io<'_>) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &args.token.token_file {
        return input::token(path, io);
    }
    let Some(person) = &mut io.person else {
        return Err(
            Failure::usage("there is no terminal to ask for the token at")
                .hint("give it with `--token-file FILE`, or `--token-file -` on standard input"),
        );
    };
    let typed = Zeroizing::new(person.secret("Token (not shown): ").map_err(unheard)?);
    if typed.trim().is_empty() {
        return Err(Failure::usage("no token was given"));
    }
    Ok(typed)
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::usage(format!("the terminal can't be read: {error}"))
}

pub(super) fn logout(args: LogoutArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let profiles = Profiles::load(io)?;
    let Some(name) = args.profile.or_else(|| profiles.current.clone()) else {
        return Err(Failure::usage("you are logged in nowhere"));
    };
    forget(profiles, &name, io)
}

fn forget(mut profiles: Profiles, name: &str, io: &mut Io<'_>) -> Result<Exit, Failure> {
    profiles
        .profiles
        .remove(name)
        .ok_or_else(|| no_such(name))?;
    if profiles.current.as_deref() == Some(name) {
        profiles.current = None;
    }
    profiles.save(io)?;
    io.note(format_args!(
        "forgot profile `{}`; its token is still good until it is revoked",
        table::clean(name)
    ));
    Ok(Exit::Ok)
}

pub(super) fn profiles(args: ProfilesArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut profiles = Profiles::load(io)?;
    match args.command {
        ProfilesCommand::Remove(NameArg { name }) => return forget(profiles, &name, io),
        ProfilesCommand::Use(NameArg { name }) => {
            if !profiles.profiles.contains_key(&name) {
                return Err(no_such(&name));
            }
            io.note(format_args!(
                "profile `{}` is used from now on",
                table::clean(&name)
            ));
            profiles.current = Some(name);
            profiles.save(io)?;
        }
        ProfilesCommand::List => {
            let rows: Vec<_> = profiles
                .profiles
                .iter()
                .map(|(name, profile)| {
                    let current = profiles.current.as_deref() == Some(name);
                    (name.as_str(), profile.endpoint.as_str(), current)
                })
                .collect();
            let value = || {
                let list: Vec<_> = rows
                    .iter()
                    .map(|(name, endpoint, current)| json!({"name": name, "endpoint": endpoint, "current": current}))
                    .collect();
                json!({ "profiles": list })
            };
            if rows.is_empty() && args.output.is_table() {
                io.note("no profiles; `claviger login` makes one");
                return Ok(Exit::Ok);
            }
            show(io, args.output.output, value, |look| {
                table::profiles(&rows, look)
            })?;
        }
    }
    Ok(Exit::Ok)
}
