//! The gRPC boundary: generated messages and services, and what reads and writes them.
//!
//! Invariant: nothing here knows how state is stored. What a client sent is checked here, field by field, before any use
//! case sees it.

pub mod authorize;
mod challenge;
mod convert;
pub mod directory;
mod envoy;
mod envoy_answer;
mod envoy_claims;
pub mod ext_authz;
pub mod fleet;
pub mod guard;
mod import;
mod inbox;
pub mod insights;
pub mod key_admin;
pub mod postbacks;
pub mod proto;
pub mod routes;
pub mod status;
mod sync;
mod watched;
