//! What is asked: a request, and what is demanded of it.

use std::net::IpAddr;

use super::{Attributes, Headers};
use crate::domain::id::{KeyId, SecretId};
use crate::domain::workspace::Presentation;

/// A request to decide about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The workspace whose keys open it.
    pub workspace: &'q str,
    /// What it presents.
    pub presented: Presented<'q>,
    /// The client's address, canonical; none: not known.
    pub source_ip: Option<IpAddr>,
    /// Scopes demanded, all of them.
    pub all_of: Demand<'q>,
    /// Scopes demanded, one of them.
    pub any_of: Demand<'q>,
    /// The subscription asked for; empty: none.
    pub subscription: &'q str,
    /// Whether a check that demands nothing is denied where the workspace does not say.
    pub must_demand: bool,
    /// What it is matched with routes by.
    pub attributes: Attributes<'q>,
}

/// What a request presents.
#[derive(Clone, Copy)]
pub enum Presented<'q> {
    /// A credential that the caller took from the request.
    Token(&'q [u8], Presentation),
    /// The request, to take the credential from.
    Http {
        /// Its headers.
        headers: &'q dyn Headers,
        /// Its path with the query, as received.
        path: &'q [u8],
    },
    /// No credential, but the key whose it would be: only to explain a supposed request.
    Supposed {
        /// The key.
        key: KeyId,
        /// The secret of it; none: one that is live, if there is any.
        secret: Option<SecretId>,
        /// How it would be presented.
        presentation: Presentation,
    },
}

// By hand: what is presented is a secret.
impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(..) => "Token(redacted)",
            Self::Http { .. } => "Http(redacted)",
            Self::Supposed { .. } => "Supposed",
        })
    }
}

/// Scopes demanded.
#[derive(Debug, Clone, Copy)]
pub enum Demand<'q> {
    /// As a list.
    List(&'q [String]),
    /// Separated by spaces.
    Words(&'q str),
}

impl<'q> Demand<'q> {
    /// None.
    pub const NONE: Self = Self::List(&[]);

    /// The scopes.
    pub fn iter(self) -> impl Iterator<Item = &'q str> + Clone {
        let (list, words) = match self {
            Self::List(list) => (list, ""),
            Self::Words(words) => (&[][..], words),
        };
        list.iter()
            .map(String::as_str)
            .chain(words.split_ascii_whitespace())
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// What is demanded of scopes, all-of and any-of: by the request, and by the route it takes.
pub type Demands<'q> = [(Demand<'q>, Demand<'q>); 2];

pub(super) fn demand_nothing(demands: &Demands<'_>) -> bool {
    demands
        .iter()
        .all(|(all_of, any_of)| all_of.is_empty() && any_of.is_empty())
}
