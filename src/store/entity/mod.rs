//! The tables as rows, one file each. What they mean is the business of `convert`.

pub(crate) mod changes;
pub(crate) mod counter;
pub(crate) mod decisions;
pub(crate) mod deliveries;
pub(crate) mod flushes;
pub(crate) mod idempotency;
pub(crate) mod imports;
pub(crate) mod key_terms;
pub(crate) mod keys;
pub(crate) mod leader;
pub(crate) mod meta;
pub(crate) mod postback_sequences;
pub(crate) mod principals;
pub(crate) mod replay_tokens;
pub(crate) mod replicas;
pub(crate) mod route_shapes;
pub(crate) mod route_uses;
pub(crate) mod routes;
pub(crate) mod scopes;
pub(crate) mod secrets;
pub(crate) mod shadow_counts;
pub(crate) mod signing_secrets;
pub(crate) mod subscriptions;
pub(crate) mod usage;
pub(crate) mod workspaces;
