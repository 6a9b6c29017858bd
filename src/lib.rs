//! Claviger: a gRPC authorization service for API keys.
//!
//! `ARCHITECTURE.md` has the map; the README how to use it.

pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod decide;
pub mod deliver;
pub mod domain;
pub mod feed;
pub mod fleet;
pub mod grpc;
pub mod http;
pub mod index;
pub mod record;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod telemetry;
