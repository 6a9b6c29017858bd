//! The gRPC boundary: generated messages and services, and what reads and writes them.

pub mod proto;
