//! Options that several commands share.

use clap::Args;

use super::input;
use crate::grpc::proto::v1;

/// What makes a change repeatable.
#[derive(Debug, Args)]
pub(super) struct Repeat {
    /// A UUID that makes the command repeatable
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "UUID"
    )]
    pub(super) request_id: String,
}

/// What a request demands of its key.
#[derive(Debug, Args)]
pub(super) struct Demand {
    /// A scope that the key must hold; can be repeated, or separated by commas
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Scopes of which the key must hold one; can be repeated, or separated by commas
    #[arg(long = "any-scope", value_delimiter = ',', value_name = "SCOPE")]
    any_scopes: Vec<String>,
    /// The subscription that the request acts for
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    subscription: String,
    /// The route that the request takes, by id [default: found by host, path and method]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "ROUTE"
    )]
    route: String,
    /// A claim of a JWT that somebody has verified; can be repeated
    #[arg(long = "claim", value_parser = input::label, value_name = "NAME=VALUE")]
    claims: Vec<(String, String)>,
}

impl Demand {
    /// A request that demands this, and says nothing else.
    pub(super) fn request(self) -> v1::CheckRequest {
        v1::CheckRequest {
            required_scopes: self.scopes,
            any_of_scopes: self.any_scopes,
            subscription: self.subscription,
            route: self.route,
            verified_claims: self.claims.into_iter().collect(),
            ..Default::default()
        }
    }
}
