//! Who leads: one row, which one replica has until its lease is over. On the database's clock, as the leases of replicas.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, Iterable as _, QueryFilter as _,
};

use super::SqlStore;
use super::entity::leader::{Column, Entity};
use super::error::{corrupt, failed};
use super::replicas::{clock, lease_end};
use crate::app::ports::StoreError;
use crate::app::ports::fleet::Me;
use crate::domain::id::ReplicaId;

/// The one row.
const PLACE: i32 = 1;

impl SqlStore {
    /// Takes the row, or keeps it. In one statement: of two who find the lease over, the second waits for the first, and
    /// finds it taken.
    pub(super) async fn take_lead(&self, me: &Me) -> Result<bool, StoreError> {
        let backend = self.fleet.get_database_backend();
        let column = |column| Expr::col((Entity, column));
        let over = column(Column::LeaseEnd).lte(clock(backend));
        let mine = column(Column::Replica)
            .eq(me.id.to_bytes().to_vec())
            .and(column(Column::StartTime).eq(me.start_time.micros()));
        let take = Query::insert()
            .into_table(Entity)
            .columns(Column::iter())
            .values([
                Expr::val(PLACE),
                Expr::val(me.id.to_bytes().to_vec()),
                Expr::val(me.start_time.micros()),
                lease_end(backend),
            ])
            .map_err(|_| corrupt("a row of another width"))?
            .on_conflict(
                OnConflict::column(Column::Place)
                    .update_columns([Column::Replica, Column::StartTime, Column::LeaseEnd])
                    .action_and_where(over.or(mine))
                    .to_owned(),
            )
            .to_owned();
        let done = self.fleet.execute(&take).await.map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn who_leads(&self) -> Result<Option<ReplicaId>, StoreError> {
        let now = clock(self.fleet.get_database_backend());
        let row = Entity::find_by_id(PLACE)
            .filter(Expr::col(Column::LeaseEnd).gt(now))
            .one(&self.fleet)
            .await
            .map_err(failed)?;
        let id = |bytes: Vec<u8>| {
            let id = bytes.try_into();
            let id = id.map_err(|_| corrupt("the id of the leader is not 16 bytes"))?;
            Ok(ReplicaId::from_u128(u128::from_be_bytes(id)))
        };
        row.map(|row| id(row.replica)).transpose()
    }

    pub(super) async fn give_up_lead(&self, me: &Me) -> Result<(), StoreError> {
        let done = Entity::delete_many()
            .filter(Column::Replica.eq(me.id.to_bytes().to_vec()))
            .filter(Column::StartTime.eq(me.start_time.micros()))
            .exec(&self.fleet);
        done.await.map_err(failed).map(drop)
    }
}
