//! What a key *is*: keys, secrets, tokens, scopes, networks, workspaces, principals, decisions.
//!
//! Invariant: everything here is pure. No I/O, no async, no clock, no randomness: time and random bytes are parameters.

pub mod decision;
pub mod entropy;
pub mod id;
pub mod invalid;
pub mod key;
pub mod leak;
pub mod network;
pub mod postback;
pub mod principal;
pub mod replica;
pub mod revision;
pub mod route;
pub mod scope;
pub mod secret;
pub mod text;
pub mod time;
pub mod token;
pub mod workspace;
