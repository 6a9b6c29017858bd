//! The list of replicas. The database's clock tells people when each was last seen, and a start whether the place of its
//! process was held a moment ago; who is silent for good, everybody judges by their own (`app/fleet/silence.rs`).

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait as _, InsertStatement, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, EntityTrait as _, Iterable as _,
    QueryFilter as _, QueryOrder as _,
};

use super::SqlStore;
use super::entity::replicas::{Column, Entity, Model};
use super::error::{corrupt, failed};
use super::{convert, maintenance};
use crate::app::ports::StoreError;
use crate::app::ports::fleet::{Me, Place, Renewal, Replicas};
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
    })
}

/// Enters a process, in the place of any that `over` says of the row that is there.
fn entry(
    backend: DbBackend,
    me: &Me,
    state: ReplicaState,
    applied: Revision,
    over: Condition,
) -> Result<InsertStatement, StoreError> {
    let entry = Query::insert()
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
                .action_cond_where(over)
                .to_owned(),
        )
        .to_owned();
    Ok(entry)
}

#[async_trait]
impl Replicas for SqlStore {
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<Place, StoreError> {
        let backend = self.fleet.get_database_backend();
        let there = |column| Expr::col((Entity, column));
        let free = Condition::any()
            .add(there(Column::StartTime).eq(me.start_time.micros()))
            .add(there(Column::LeaseEnd).lte(clock(backend)));
        let entered = entry(backend, me, state, applied, free)?;
        let entered = self.fleet.execute(&entered).await.map_err(failed)?;
        if entered.rows_affected() == 1 {
            return Ok(Place::Free);
        }
        let nothing = Revision { n: 0, ..applied };
        let entered = entry(backend, me, state, nothing, Condition::all())?;
        self.fleet.execute(&entered).await.map_err(failed)?;
        Ok(Place::Taken)
    }

    async fn renew(&self, me: &Me, applied: Revision) -> Result<Renewal, StoreError> {
        let backend = self.fleet.get_database_backend();
        let id = Column::Id.eq(me.id.to_bytes().to_vec());
        let done = Entity::update_many()
            .col_expr(Column::State, Expr::val(ReplicaState::Serving.as_str()))
            .col_expr(Column::Epoch, Expr::val(i64::from(applied.epoch)))
            .col_expr(Column::Applied, Expr::val(number(applied.n)))
            .col_expr(Column::SeenTime, clock(backend))
            .col_expr(Column::LeaseEnd, lease_end(backend))
            .filter(id.clone())
            .filter(Column::StartTime.eq(me.start_time.micros()))
            .exec(&self.fleet)
            .await
            .map_err(failed)?;
        if done.rows_affected == 1 {
            return Ok(Renewal::Held);
        }
        let there = Entity::find().filter(id).one(&self.fleet);
        let there = there.await.map_err(failed)?;
        Ok(match there {
            Some(row) if row.start_time != me.start_time.micros() => Renewal::Displaced,
            _ => Renewal::Lost,
        })
    }

    async fn roll(&self) -> Result<Vec<Replica>, StoreError> {
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.fleet);
        let rows = rows.await.map_err(failed)?;
        rows.into_iter().map(replica).collect()
    }

    async fn leave(&self, me: &Me) -> Result<(), StoreError> {
        let done = Entity::delete_many()
            .filter(Column::Id.eq(me.id.to_bytes().to_vec()))
            .filter(Column::StartTime.eq(me.start_time.micros()))
            .exec(&self.fleet);
        done.await.map_err(failed).map(drop)
    }

    async fn strike(&self, seen: &Replica) -> Result<bool, StoreError> {
        let done = Entity::delete_many()
            .filter(Column::Id.eq(seen.id.to_bytes().to_vec()))
            .filter(Column::StartTime.eq(seen.start_time.micros()))
            .filter(Column::SeenTime.eq(seen.seen_time.micros()))
            .filter(Column::Applied.eq(number(seen.applied.n)))
            .exec(&self.fleet)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected == 1)
    }
}
