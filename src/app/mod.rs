//! Use cases, and the ports through which they reach the world.
//!
//! Invariant: nothing here knows SQL, gRPC or HTTP. What it needs from outside it asks of the traits in [`ports`].

pub mod error;
pub mod ports;
