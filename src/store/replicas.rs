//! The list of replicas. Leases are counted on the database's clock: it is the only one that all of them share.

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, FromQueryResult as _,
    Iterable as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};

use super::SqlStore;
use super::entity::replicas::{Column, Entity, Model};
use super::error::{corrupt, failed};
use super::{convert, maintenance};
use crate::app::ports::StoreError;
use crate::app::ports::fleet::{Me, Replicas, Roll};
use crate::domain::id::ReplicaId;
use crate::domain::replica::{LEASE, Replica, ReplicaState};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

/// The database's clock, in microseconds since the Unix epoch.
fn clock(backend: DbBackend) -> Expr {
    Expr::cust(match backend {
        DbBackend::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        _ => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    })
}

/// The same, as it stood when the statement began.
fn moment(backend: DbBackend) -> Expr {
    match backend {
        DbBackend::Postgres => {
            Expr::cust("(extract(epoch FROM statement_timestamp()) * 1000000)::bigint")
        }
        // One moment for a whole statement.
        other => clock(other),
    }
}

fn lease_end(backend: DbBackend) -> Expr {
    let lease = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    clock(backend).add(lease)
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn replica(row: Model) -> Result<Replica, StoreError> {
    let id: [u8; 16] = row
        .id
        .try_into()
        .map_err(|_| corrupt("the id of a replica is not 16 bytes"))?;
    let state = ReplicaState::ALL
        .into_iter()
        .find(|state| state.as_str() == row.state)
        .ok_or_else(|| corrupt("the state of a replica is none"))?;
    Ok(Replica {
        id: ReplicaId::from_u128(u128::from_be_bytes(id)),
        name: row.name,
        version: row.version,
        state,
        applied: Revision {
            epoch: maintenance::epoch(row.epoch)?,
            n: convert::unsigned(row.applied)?,
        },
        strict: row.strict,
        start_time: Time::from_micros(row.start_time),
        seen_time: Time::from_micros(row.seen_time),
        lease_end: Time::from_micros(row.lease_end),
    })
}

#[async_trait]
impl Replicas for SqlStore {
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<(), StoreError> {
        let backend = self.fleet.get_database_backend();
        let enter = Query::insert()
            .into_table(Entity)
            .columns(Column::iter())
            .values([
                Expr::val(me.id.to_bytes().to_vec()),
                Expr::val(me.name.as_str()),
                Expr::val(me.version.as_str()),
                Expr::val(state.as_str()),
                Expr::val(i64::from(applied.epoch)),
                Expr::val(number(applied.n)),
                Expr::val(me.strict),
                Expr::val(me.start_time.micros()),
                clock(backend),
                lease_end(backend),
            ])
            .map_err(|_| corrupt("a row of another width"))?
            .on_conflict(
                OnConflict::column(Column::Id)
                    .update_columns(Column::iter().filter(|c| !matches!(c, Column::Id)))
                    .to_owned(),
            )
            .to_owned();
        self.fleet.execute(&enter).await.map_err(failed)?;
        Ok(())
    }

    async fn renew(&self, me: &Me, applied: Revision) -> Result<bool, StoreError> {
        let backend = self.fleet.get_database_backend();
        let done = Entity::update_many()
            .col_expr(Column::State, Expr::val(ReplicaState::Serving.as_str()))
            .col_expr(Column::Epoch, Expr::val(i64::from(applied.epoch)))
            .col_expr(Column::Applied, Expr::val(number(applied.n)))
            .col_expr(Column::SeenTime, clock(backend))
            .col_expr(Column::LeaseEnd, lease_end(backend))
            .filter(Column::Id.eq(me.id.to_bytes().to_vec()))
            .filter(Column::StartTime.eq(me.start_time.micros()))
            .exec(&self.fleet)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected == 1)
    }

    async fn roll(&self) -> Result<Roll, StoreError> {
        // The moment at which the statement began: a renewal that it does not see was not there by then.
        const NOW: &str = "now";
        let select = Entity::find()
            .expr_as(moment(self.fleet.get_database_backend()), NOW)
            .order_by_asc(Column::Id);
        let rows = self.fleet.query_all(select.as_query());
        let rows = rows.await.map_err(failed)?;
        let mut roll = Roll {
            replicas: Vec::with_capacity(rows.len()),
            now: Time::from_micros(0),
        };
        for row in rows {
            roll.now = Time::from_micros(row.try_get("", NOW).map_err(failed)?);
            let row = Model::from_query_result(&row, "").map_err(failed)?;
            roll.replicas.push(replica(row)?);
        }
        Ok(roll)
    }

    async fn leave(&self, me: &Me) -> Result<(), StoreError> {
        let done = Entity::delete_many()
            .filter(Column::Id.eq(me.id.to_bytes().to_vec()))
            .filter(Column::StartTime.eq(me.start_time.micros()))
            .exec(&self.fleet);
        done.await.map_err(failed).map(drop)
    }

    async fn strike(&self, id: ReplicaId) -> Result<bool, StoreError> {
        let now = clock(self.fleet.get_database_backend());
        let done = Entity::delete_many()
            .filter(Column::Id.eq(id.to_bytes().to_vec()))
            .filter(Expr::col(Column::LeaseEnd).lte(now))
            .exec(&self.fleet)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected == 1)
    }
}
