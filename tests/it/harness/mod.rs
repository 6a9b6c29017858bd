//! What the integration tests are made of.

pub(crate) mod server;
