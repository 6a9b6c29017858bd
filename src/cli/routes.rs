//! `claviger routes`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::connect::WorkspaceOption;
use super::directory::location;
use super::names::AccessName;
use super::options::Repeat;
use super::page::PageArgs;
use super::{Common, input};
use crate::grpc::proto::v1;

mod run;

pub(super) use run::run;

/// Make and manage routes: what integrations expose, and what they demand of those who call them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger routes create orders --path '/v1/{subscription}/orders' --method GET --scope orders:read --subscription capture:subscription
  claviger routes create messaging --host api.example.com --path /messages --scope messaging \\
    --jwt-claim scope=messages --key-header x-tracking-key=tracking --location header:api-key
  claviger routes create payments --grpc acme.v1.Payments/Get,List --scope payments:read
  claviger routes match /v1/gold/orders --method GET       # which route would this take?
  claviger routes update messaging --name Messaging --validate-only   # what would a save change?")]
pub struct RoutesArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    #[command(subcommand)]
    command: RoutesCommand,
}

impl RoutesArgs {
    /// Whether the command takes `--request-id`: those that change something do.
    pub(super) fn is_repeatable(&self) -> bool {
        use RoutesCommand::{Get, List, Match};
        !matches!(self.command, Get(_) | List(_) | Match(_))
    }
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// Make a route
    Create(Box<CreateArgs>),
    /// Show a route, and who still passes it without a key
    Get(IdArg),
    /// List routes
    List(PageArgs),
    /// Change a route; a grandfathered one demands a key from then on
    Update(Box<UpdateArgs>),
    /// Delete a route; its requests go to the next most specific one, or to none
    Delete(DeleteArgs),
    /// Say which route a request would take; exits with 1 where there is none
    Match(MatchArgs),
}

#[derive(Debug, Args)]
struct IdArg {
    /// Its id
    id: String,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its id: 1 to 64 of `[A-Za-z0-9._-]`
    id: String,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Check everything, make nothing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Its id
    id: String,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Empty a setting; can be repeated, or separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SETTING")]
    clear: Vec<Clear>,
    /// Check everything, change nothing, and show the warnings
    #[arg(long)]
    validate_only: bool,
    /// Go ahead although requests without a key are refused from then on
    #[arg(long)]
    acknowledge_warnings: bool,
    /// Do nothing unless it still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Its id
    id: String,
    /// Do nothing unless it still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    request: Repeat,
}

#[derive(Debug, Args)]
struct MatchArgs {
    /// The path, as a client sends it
    path: String,
    /// The method
    #[arg(long, default_value = "", hide_default_value = true)]
    method: String,
    /// The host
    #[arg(long, default_value = "", hide_default_value = true)]
    host: String,
}

/// Settings of a route.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// A name for people
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    display_name: Option<String>,
    /// A host, or `*.` and a suffix; can be repeated, or separated by commas [default: any]
    #[arg(long = "host", value_delimiter = ',', value_name = "HOST")]
    hosts: Vec<String>,
    /// Its path, such as `/v1/{subscription}/messages` or `/files/{rest=**}`
    #[arg(long, value_name = "TEMPLATE")]
    path: Option<String>,
    /// A method; can be repeated, or separated by commas [default: any]
    #[arg(long = "method", value_delimiter = ',', value_name = "METHOD")]
    methods: Vec<String>,
    /// A gRPC service in place of a path, whole (`acme.v1.Orders`) or in part (`acme.v1.Orders/Get,List`); can be repeated
    #[arg(long = "grpc", value_parser = service, value_name = "SERVICE")]
    grpc: Vec<v1::GrpcService>,
    /// A scope that a key must hold; can be repeated, or separated by commas
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Scopes of which a key must hold one; can be repeated, or separated by commas
    #[arg(long = "any-scope", value_delimiter = ',', value_name = "SCOPE")]
    any_scopes: Vec<String>,
    /// What says which subscription a request is for: `capture:NAME`, `header:NAME` or `fixed:ID`
    #[arg(long, value_parser = source, value_name = "SOURCE")]
    subscription: Option<v1::SubscriptionSource>,
    /// A claim of a verified JWT that must be there (`CLAIM`), or be this or one of several (`CLAIM=VALUE,VALUE`); can be
    /// repeated
    #[arg(long = "jwt-claim", value_parser = claim, value_name = "CLAIM")]
    claims: Vec<v1::JwtFactor>,
    /// The name under which Envoy has the JWT's payload [default: `jwt_payload`]
    #[arg(long, value_name = "NAME")]
    jwt_payload: Option<String>,
    /// A header that must be there; can be repeated
    #[arg(long = "require-header", value_name = "NAME")]
    present: Vec<String>,
    /// A header that must be a key of its own with this scope; can be given once
    #[arg(long = "key-header", value_parser = input::label, value_name = "NAME=SCOPE")]
    key_header: Option<(String, String)>,
    /// A header that must be one of the values in a file, one a line; can be repeated
    #[arg(long = "header-values", value_parser = values, value_name = "NAME=FILE")]
    header_values: Vec<(String, PathBuf)>,
    /// Where a credential may be, in place of the workspace's: `bearer`, `basic`, `header:NAME` or `query:NAME`; can be repeated,
    /// or separated by commas
    #[arg(long = "location", value_delimiter = ',', value_parser = location, value_name = "PLACE")]
    locations: Vec<v1::CredentialLocation>,
    /// Who may pass
    #[arg(long, value_enum, value_name = "ACCESS")]
    access: Option<AccessName>,
    /// Requests to its hosts that name no workspace belong to this one; takes a key of `system`
    #[arg(long, value_name = "BOOL")]
    claims_hosts: Option<bool>,
    /// A label for machines; can be repeated
    #[arg(long = "label", value_parser = input::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,
}

/// What can be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clear {
    /// Any host
    Hosts,
    /// No path, for gRPC services
    Path,
    /// Any method
    Methods,
    /// No gRPC services, for a path
    Grpc,
    /// No scope of which all are demanded
    Scopes,
    /// No scopes of which one is demanded
    AnyScopes,
    /// Nothing says the subscription
    Subscription,
    /// Nothing beside the key
    Factors,
    /// Where the workspace says
    Locations,
    /// No labels
    Labels,
}

impl Clear {
    fn path(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Path => "path",
            Self::Methods => "methods",
            Self::Grpc => "grpc",
            Self::Scopes => "required_scopes",
            Self::AnyScopes => "any_of_scopes",
            Self::Subscription => "subscription",
            Self::Factors => "factors",
            Self::Locations => "locations",
            Self::Labels => "labels",
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a parser of an argument may refuse; what is wrong with a name is the server's to say"
)]
fn service(text: &str) -> Result<v1::GrpcService, String> {
    let (service, methods) = text.split_once('/').unwrap_or((text, ""));
    let methods = methods.split(',').filter(|m| !m.is_empty());
    Ok(v1::GrpcService {
        service: service.to_owned(),
        methods: methods.map(str::to_owned).collect(),
    })
}

fn source(text: &str) -> Result<v1::SubscriptionSource, String> {
    use v1::subscription_source::Source;
    let source = match text.split_once(':') {
        Some(("capture", name)) if !name.is_empty() => Source::Capture(name.to_owned()),
        Some(("header", name)) if !name.is_empty() => Source::Header(name.to_owned()),
        Some(("fixed", id)) if !id.is_empty() => Source::Fixed(id.to_owned()),
        _ => return Err("give `capture:NAME`, `header:NAME` or `fixed:ID`".to_owned()),
    };
    Ok(v1::SubscriptionSource {
        source: Some(source),
    })
}

fn claim(text: &str) -> Result<v1::JwtFactor, String> {
    let (claim, values) = text.split_once('=').unwrap_or((text, ""));
    if claim.is_empty() {
        return Err("give `CLAIM` or `CLAIM=VALUE,VALUE`".to_owned());
    }
    let values = values.split(',').filter(|v| !v.is_empty());
    Ok(v1::JwtFactor {
        payload: String::new(),
        claim: claim.to_owned(),
        values: values.map(str::to_owned).collect(),
    })
}

fn values(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = input::label(text).map_err(|_| "give `NAME=FILE`".to_owned())?;
    Ok((name, PathBuf::from(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let some = service("a.v1.B/Get,List").unwrap();
        assert_eq!((some.service.as_str(), some.methods.len()), ("a.v1.B", 2));
        assert!(service("a.v1.B").unwrap().methods.is_empty());
        assert_eq!(claim("scope=a,b").unwrap().values, ["a", "b"]);
        assert!(claim("sub").unwrap().values.is_empty());
        assert!(claim("=a").is_err());
        for bad in ["", "capture", "capture:", "cookie:x"] {
            assert!(source(bad).is_err(), "{bad}");
        }
        assert!(source("fixed:gold").is_ok() && values("x=f").is_ok() && values("x").is_err());
    }
}
