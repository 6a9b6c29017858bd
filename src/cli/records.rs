//! `claviger decisions`, `usage` and `shadow`: what was recorded of decisions.

mod chart;
mod decisions;
mod shadow;
mod usage;

use time::OffsetDateTime;

use super::connect::Connection;
use super::failure::Failure;
use super::input::When;
use super::io::Io;
use super::{Common, MAX_ANSWER};
use crate::grpc::proto::v1;

pub use decisions::DecisionsArgs;
pub(super) use decisions::run as decisions;
pub use shadow::ShadowArgs;
pub(super) use shadow::run as shadow;
pub use usage::UsageArgs;
pub(super) use usage::run as usage;

type Client = v1::insights_client::InsightsClient<Connection>;

async fn connect(common: &Common, io: &Io<'_>) -> Result<Client, Failure> {
    Ok(Client::new(common.connect(io).await?).max_decoding_message_size(MAX_ANSWER))
}

/// A moment that was typed, counted back from now.
fn back(
    when: Option<When>,
    now: OffsetDateTime,
) -> Result<Option<prost_types::Timestamp>, Failure> {
    match when {
        Some(when) => when.back(now),
        None => Ok(None),
    }
}
