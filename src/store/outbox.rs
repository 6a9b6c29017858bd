//! Events on their way to POSTback URLs: writing them, taking those that are due, and what came of them.
//!
//! Who delivers takes a row for a while by moving the time of its next attempt, so that a process that dies gives it back.
//! The number of attempts tells whose turn it is: what an earlier one reports late is not believed.

mod rows;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::SqlStore;
use super::convert;
use super::entity::{deliveries, keys, signing_secrets};
use super::error::failed;
use crate::app::ports::StoreError;
use crate::app::ports::outbox::{
    Delivery, DeliveryQuery, Due, Expiry, NewEvent, Outbox, OutboxState, Outcome, SigningSecret,
    Spared, Stored,
};
use crate::domain::id::{EventId, WorkspaceId};
use crate::domain::postback::DeliveryState;
use crate::domain::time::Time;

use rows::{delivery, failure_text, state_text};
pub(super) use write::{
    forget_keys, forget_workspace, hasten_unsigned, put_events, put_signing_secret, redeliver,
    retarget, signing_secrets,
};

use deliveries::Column;

/// How many rows one statement clears away.
const CLEAR: u64 = 1_000;

#[async_trait]
impl Outbox for SqlStore {
    async fn publish(&self, event: &NewEvent, most: Option<u32>) -> Result<Stored, StoreError> {
        let tx = self.writer.begin_writing().await?;
        // First the number, whose row orders everybody who writes events of the key.
        let sequence = write::next_number(&tx, event.key).await?;
        if let Some(once) = &event.once {
            let known = deliveries::Entity::find()
                .filter(Column::KeyId.eq(event.key.to_bytes().to_vec()))
                .filter(Column::Once.eq(once.as_str()))
                .one(&tx)
                .await
                .map_err(failed)?;
            if let Some(row) = known {
                return Ok(Stored::Known(Box::new(delivery(row)?)));
            }
        }
        if let Some(most) = most {
            let one_too_many = deliveries::Entity::find()
                .select_only()
                .column(Column::NextAttemptTime)
                .filter(Column::KeyId.eq(event.key.to_bytes().to_vec()))
                .filter(Column::NextAttemptTime.is_not_null())
                .offset(u64::from(most.saturating_sub(1)))
                .limit(1)
                .into_tuple::<i64>()
                .one(&tx)
                .await
                .map_err(failed)?;
            if one_too_many.is_some() {
                return Ok(Stored::Full);
            }
        }
        let row = rows::new_row(event, sequence);
        let written = delivery(row.clone())?;
        write::insert(&tx, vec![row]).await?;
        tx.commit().await?;
        Ok(Stored::New(Box::new(written)))
    }

    async fn delivery(&self, id: EventId) -> Result<Option<Delivery>, StoreError> {
        let row = deliveries::Entity::find_by_id(id.to_bytes().to_vec())
            .one(&self.reader)
            .await
            .map_err(failed)?;
        row.map(delivery).transpose()
    }

    async fn list_deliveries(&self, query: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        let mut select = deliveries::Entity::find()
            .filter(Column::WorkspaceId.eq(query.workspace.as_str()))
            .order_by_desc(Column::Id)
            .limit(u64::from(query.limit));
        if let Some(key) = query.key {
            select = select.filter(Column::KeyId.eq(key.to_bytes().to_vec()));
        }
        if let Some(state) = query.state {
            select = select.filter(Column::State.eq(state.as_str()));
        }
        if let Some(kind) = &query.kind {
            select = select.filter(Column::Kind.eq(kind.as_str()));
        }
        if let Some(before) = query.before {
            select = select.filter(Column::Id.lt(before.to_bytes().to_vec()));
        }
        let rows = select.all(&self.reader).await.map_err(failed)?;
        rows.into_iter().map(delivery).collect()
    }

    async fn due(&self, now: Time, limit: u32, spared: &Spared) -> Result<Vec<Due>, StoreError> {
        let mut select = deliveries::Entity::find()
            .select_only()
            .columns([Column::Id, Column::KeyId, Column::Place])
            .filter(Column::NextAttemptTime.lte(now.micros()))
            .order_by_asc(Column::NextAttemptTime)
            .limit(u64::from(limit));
        if !spared.places.is_empty() {
            let places = spared.places.iter().map(String::as_str);
            select = select.filter(Column::Place.is_not_in(places));
        }
        if !spared.keys.is_empty() {
            let keys = spared.keys.iter().map(|key| key.to_bytes().to_vec());
            select = select.filter(Column::KeyId.is_not_in(keys));
        }
        let found = select
            .into_tuple::<(Vec<u8>, Vec<u8>, String)>()
            .all(&self.reader)
            .await
            .map_err(failed)?;
        found
            .into_iter()
            .map(|(id, key, place)| {
                Ok(Due {
                    id: rows::event_id(&id)?,
                    key: convert::key_id(&key)?,
                    place,
                })
            })
            .collect()
    }

    async fn claim(
        &self,
        due: &[Due],
        now: Time,
        until: Time,
    ) -> Result<Vec<Delivery>, StoreError> {
        let ids = due.iter().map(|due| due.id.to_bytes().to_vec());
        let tx = self.writer.begin_writing().await?;
        // What others are taking at this moment is passed over, not waited for.
        let ids = deliveries::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.is_in(ids))
            .filter(Column::NextAttemptTime.lte(now.micros()))
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_tuple::<Vec<u8>>()
            .all(&tx)
            .await
            .map_err(failed)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        deliveries::Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::Claimed, Expr::val(true))
            .col_expr(Column::NextAttemptTime, Expr::val(until.micros()))
            .col_expr(Column::LastAttemptTime, Expr::val(now.micros()))
            .col_expr(Column::Status, Expr::val(None::<i64>))
            .col_expr(Column::Failure, Expr::val(None::<String>))
            .filter(Column::Id.is_in(ids.clone()))
            .exec(&tx)
            .await
            .map_err(failed)?;
        let rows = deliveries::Entity::find()
            .filter(Column::Id.is_in(ids))
            .order_by_asc(Column::Id)
            .all(&tx)
            .await
            .map_err(failed)?;
        tx.commit().await?;
        rows.into_iter().map(delivery).collect()
    }

    async fn settle(&self, claimed: &Delivery, outcome: &Outcome) -> Result<bool, StoreError> {
        let ended = outcome.next.is_none().then_some(outcome.now.micros());
        let tx = self.writer.begin_writing().await?;
        let done = write::of_claimed(claimed)
            .col_expr(Column::State, Expr::val(state_text(outcome.state)))
            .col_expr(Column::Claimed, Expr::val(false))
            .col_expr(
                Column::NextAttemptTime,
                Expr::val(outcome.next.map(Time::micros)),
            )
            .col_expr(
                Column::Status,
                Expr::val(outcome.sent.status.map(i64::from)),
            )
            .col_expr(
                Column::Failure,
                Expr::val(outcome.sent.failure.map(failure_text)),
            )
            .col_expr(Column::EndTime, Expr::val(ended))
            .exec(&tx)
            .await
            .map_err(failed)?;
        tx.commit().await?;
        Ok(done.rows_affected == 1)
    }

    async fn reclaim(&self, now: Time) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        deliveries::Entity::update_many()
            .col_expr(Column::Claimed, Expr::val(false))
            .col_expr(Column::NextAttemptTime, Expr::val(now.micros()))
            .filter(Column::Claimed.eq(true))
            .filter(Column::NextAttemptTime.is_not_null())
            .exec(&tx)
            .await
            .map_err(failed)?;
        tx.commit().await
    }

    async fn signing_secrets(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, StoreError> {
        write::signing_secrets(&self.reader, workspace).await
    }

    async fn expiries(
        &self,
        once: &'static str,
        after: Time,
        upto: Time,
        limit: u32,
    ) -> Result<Vec<Expiry>, StoreError> {
        // The text is ours, and the number the column's: nothing of anybody's gets into the statement.
        let told = Query::select()
            .expr(Expr::val(1))
            .from(deliveries::Entity)
            .and_where(
                Expr::col((deliveries::Entity, Column::KeyId))
                    .equals((keys::Entity, keys::Column::Id)),
            )
            .and_where(
                Expr::col((deliveries::Entity, Column::Once))
                    .eq(Expr::cust(format!("'{once}' || keys.expire_time"))),
            )
            .to_owned();
        let rows = keys::Entity::find()
            .filter(Expr::cust("postback_url <> ''"))
            .filter(keys::Column::ExpireTime.gt(after.micros()))
            .filter(keys::Column::ExpireTime.lte(upto.micros()))
            .filter(keys::Column::DeleteTime.is_null())
            .filter(Condition::all().not().add(Expr::exists(told)))
            .order_by_asc(keys::Column::ExpireTime)
            .limit(u64::from(limit))
            .all(&self.reader)
            .await
            .map_err(failed)?;
        rows.into_iter()
            .map(|row| {
                Ok(Expiry {
                    key: convert::key_id(&row.id)?,
                    workspace: convert::parse(&row.workspace_id, "keys.workspace_id")?,
                    display_name: row.display_name,
                    url: row.postback_url,
                    time: Time::from_micros(row.expire_time.unwrap_or_default()),
                })
            })
            .collect()
    }

    async fn clear_away(
        &self,
        delivered_before: Time,
        dead_before: Time,
        now: Time,
    ) -> Result<u64, StoreError> {
        let ended = |state: DeliveryState, before: Time| {
            Condition::all()
                .add(Expr::col(Column::State).eq(state.as_str()))
                .add(Expr::col(Column::EndTime).lt(before.micros()))
        };
        let some = Query::select()
            .column(Column::Id)
            .from(deliveries::Entity)
            .cond_where(
                Condition::any()
                    .add(ended(DeliveryState::Delivered, delivered_before))
                    .add(ended(DeliveryState::Dead, dead_before)),
            )
            .limit(CLEAR)
            .to_owned();
        let tx = self.writer.begin_writing().await?;
        let done = deliveries::Entity::delete_many()
            .filter(Column::Id.in_subquery(some))
            .exec(&tx)
            .await
            .map_err(failed)?;
        // A day later, so that whoever looks why a signature was refused still finds when its secret ended.
        signing_secrets::Entity::delete_many()
            .filter(
                signing_secrets::Column::ExpireTime
                    .lt(now.minus(Duration::from_secs(86_400)).micros()),
            )
            .exec(&tx)
            .await
            .map_err(failed)?;
        tx.commit().await?;
        Ok(done.rows_affected)
    }

    async fn outbox_state(&self) -> Result<OutboxState, StoreError> {
        let of = |state: DeliveryState| {
            deliveries::Entity::find().filter(Column::State.eq(state.as_str()))
        };
        let oldest = of(DeliveryState::Pending)
            .select_only()
            .column(Column::CreateTime)
            .order_by_asc(Column::CreateTime)
            .limit(1)
            .into_tuple::<i64>()
            .one(&self.reader)
            .await
            .map_err(failed)?;
        let count = async |state| of(state).count(&self.reader).await.map_err(failed);
        Ok(OutboxState {
            pending: count(DeliveryState::Pending).await?,
            dead: count(DeliveryState::Dead).await?,
            oldest: oldest.map(Time::from_micros),
        })
    }
}
