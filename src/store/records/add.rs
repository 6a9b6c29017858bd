//! Adding to the counts.

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::convert;
use crate::app::ports::{Flush, ShadowCount, StoreError, UsageId};
use crate::domain::network;
use crate::store::bounded::Transaction;
use crate::store::convert::{from_json, json, signed};
use crate::store::entity::{flushes, shadow_counts, usage};
use crate::store::error::failed;

/// How many rows one statement adds to.
const ROWS: usize = 100;

/// Notes that this addition is made; false where it has been made before. It comes first, and locks the writer's row.
pub(super) async fn is_new(tx: &Transaction, flush: &Flush) -> Result<bool, StoreError> {
    use flushes::Column;
    let sequence = signed(flush.sequence)?;
    let note = Query::insert()
        .into_table(flushes::Entity)
        .columns([Column::Writer, Column::Sequence, Column::Time])
        .values_panic([
            convert::writer(flush.writer).into(),
            sequence.into(),
            flush.now.micros().into(),
        ])
        .on_conflict(
            OnConflict::column(Column::Writer)
                .update_columns([Column::Sequence, Column::Time])
                .action_and_where(Expr::col((flushes::Entity, Column::Sequence)).lt(sequence))
                .to_owned(),
        )
        .to_owned();
    let done = tx.execute(&note).await.map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// Adds to usage. The rows come in one order, so that two processes which add at once never wait for each other in a circle.
pub(super) async fn usage(tx: &Transaction, counts: &[(UsageId, u64)]) -> Result<(), StoreError> {
    use usage::Column;
    for some in counts.chunks(ROWS) {
        let mut rows = Vec::with_capacity(some.len());
        for (id, count) in some {
            rows.push(usage::ActiveModel {
                workspace_id: Set(id.workspace.as_str().to_owned()),
                hour: Set(id.hour.micros()),
                key_id: Set(convert::key_or_none(id.key)),
                subscription: Set(id.subscription.clone()),
                route: Set(id.route.clone()),
                decision: Set(convert::decision(id.allowed).to_owned()),
                reason: Set(id.reason.as_str().to_owned()),
                count: Set(signed(*count)?),
            });
        }
        let sum =
            Expr::col((usage::Entity, Column::Count)).add(Expr::col(("excluded", Column::Count)));
        let identity = [
            Column::WorkspaceId,
            Column::Hour,
            Column::KeyId,
            Column::Subscription,
            Column::Route,
            Column::Decision,
            Column::Reason,
        ];
        usage::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::columns(identity)
                    .value(Column::Count, sum)
                    .to_owned(),
            )
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Adds what restrictions in shadow would have denied. Networks are read only once the row is locked by the addition.
pub(super) async fn shadow(tx: &Transaction, counts: &[ShadowCount]) -> Result<(), StoreError> {
    use shadow_counts::Column;
    for count in counts {
        let row = shadow_counts::ActiveModel {
            workspace_id: Set(count.workspace.as_str().to_owned()),
            key_id: Set(count.key.to_bytes().to_vec()),
            route: Set(count.route.clone()),
            reason: Set(count.reason.as_str().to_owned()),
            count: Set(signed(count.count)?),
            first_time: Set(count.first.micros()),
            last_time: Set(count.last.micros()),
            networks: Set("[]".to_owned()),
            more_networks: Set(count.more_networks),
        };
        let own = |column: Column| Expr::col((shadow_counts::Entity, column));
        let new = |column: Column| Expr::col(("excluded", column));
        let later = Expr::case(
            own(Column::LastTime).lt(new(Column::LastTime)),
            new(Column::LastTime),
        )
        .finally(own(Column::LastTime));
        let identity = [
            Column::WorkspaceId,
            Column::KeyId,
            Column::Route,
            Column::Reason,
        ];
        shadow_counts::Entity::insert(row)
            .on_conflict(
                OnConflict::columns(identity)
                    .value(Column::Count, own(Column::Count).add(new(Column::Count)))
                    .value(Column::LastTime, later)
                    .to_owned(),
            )
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
        if !count.networks.is_empty() || count.more_networks {
            networks(tx, count).await?;
        }
    }
    Ok(())
}

async fn networks(tx: &Transaction, count: &ShadowCount) -> Result<(), StoreError> {
    use shadow_counts::Column;
    let identity = (
        count.workspace.as_str().to_owned(),
        count.key.to_bytes().to_vec(),
        count.route.clone(),
        count.reason.as_str().to_owned(),
    );
    let Some(stands) = shadow_counts::Entity::find_by_id(identity)
        .one(tx)
        .await
        .map_err(failed)?
    else {
        return Ok(());
    };
    let mut all: Vec<network::IpNet> = from_json(&stands.networks, "shadow_counts.networks")?;
    all.extend(&count.networks);
    let (few, whole) = network::summarise(&all);
    shadow_counts::Entity::update_many()
        .col_expr(Column::Networks, Expr::val(json(&few)?))
        .col_expr(
            Column::MoreNetworks,
            Expr::val(stands.more_networks || count.more_networks || !whole),
        )
        .filter(Column::WorkspaceId.eq(count.workspace.as_str()))
        .filter(Column::KeyId.eq(count.key.to_bytes().to_vec()))
        .filter(Column::Route.eq(count.route.as_str()))
        .filter(Column::Reason.eq(count.reason.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}
