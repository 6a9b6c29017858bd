//! Claviger: a gRPC authorization service for API keys.
//!
//! `ARCHITECTURE.md` has the map; the README how to use it.

pub mod app;
pub mod domain;
pub mod grpc;
