//! The history, as it is read: newest first by a query, or onward from a place.

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use serde_json::Value;

use super::entity::changes::{Column, Entity, Model};
use super::error::{corrupt, failed};
use super::{SqlStore, convert, feed};
use crate::app::ports::StoreError;
use crate::app::ports::audit::{
    AuditBatch, AuditCursor, AuditEvent, AuditFilter, AuditLog, AuditQuery, Place,
};
use crate::domain::time::Time;

#[async_trait]
impl AuditLog for SqlStore {
    async fn audit_events(
        &self,
        query: &AuditQuery,
        after: Option<&AuditCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let rows = select(query, after, limit)?
            .all(&self.reader)
            .await
            .map_err(failed)?;
        rows.into_iter().map(event).collect()
    }

    async fn audit_events_after(
        &self,
        place: Place,
        upto: u64,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<AuditBatch, StoreError> {
        onward(&self.snapshot().await?, place, upto, filter, limit).await
    }
}

/// The statement for a list.
pub(super) fn select(
    query: &AuditQuery,
    after: Option<&AuditCursor>,
    limit: u32,
) -> Result<Select<Entity>, StoreError> {
    let mut condition = matching(&query.filter)
        .add_option(query.actor.as_deref().map(|actor| Column::Actor.eq(actor)))
        .add_option(
            query
                .resource
                .as_deref()
                .map(|id| Column::ResourceId.eq(id)),
        )
        .add_option(query.start.map(|start| Column::Time.gte(start.micros())))
        .add_option(query.end.map(|end| Column::Time.lt(end.micros())));
    if let Some(after) = after {
        let columns = [Column::Time, Column::Revision, Column::Ordinal];
        let place = Expr::tuple(columns.map(|column| Expr::col((Entity, column))));
        condition = condition.add(place.lt(Expr::tuple([
            Expr::val(after.time.micros()),
            Expr::val(convert::signed(after.revision)?),
            Expr::val(convert::signed(after.ordinal)?),
        ])));
    }
    Ok(Entity::find()
        .filter(condition)
        .order_by_desc(Column::Time)
        .order_by_desc(Column::Revision)
        .order_by_desc(Column::Ordinal)
        .limit(u64::from(limit)))
}

/// Reads onward from a place; the connection must be a transaction.
async fn onward<C: ConnectionTrait>(
    snapshot: &C,
    place: Place,
    upto: u64,
    filter: &AuditFilter,
    limit: u32,
) -> Result<AuditBatch, StoreError> {
    let position = feed::position(snapshot).await?;
    let mut batch = AuditBatch {
        epoch: position.epoch,
        whole: true,
        ..AuditBatch::default()
    };
    // Within a revision its number is not yet behind us.
    let from = match place.ordinal {
        Some(_) => place.n.saturating_sub(1),
        None => place.n,
    };
    if from >= upto {
        return Ok(batch);
    }
    if !feed::continues(snapshot, from).await? {
        batch.pruned = true;
        return Ok(batch);
    }
    let rows = step(place, upto, filter, limit)?
        .all(snapshot)
        .await
        .map_err(failed)?;
    batch.whole = rows.len() < limit as usize;
    batch.events = rows.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(batch)
}

/// The statement for a step onward: by the key of the table, which is in the order in which events were made.
pub(super) fn step(
    place: Place,
    upto: u64,
    filter: &AuditFilter,
    limit: u32,
) -> Result<Select<Entity>, StoreError> {
    let n = convert::signed(place.n)?;
    let onward = match place.ordinal {
        None => Column::Revision.gt(n),
        Some(ordinal) => {
            let columns = [Column::Revision, Column::Ordinal];
            let here = Expr::tuple(columns.map(|column| Expr::col((Entity, column))));
            here.gt(Expr::tuple([
                Expr::val(n),
                Expr::val(convert::signed(ordinal)?),
            ]))
        }
    };
    Ok(Entity::find()
        .filter(
            matching(filter)
                .add(onward)
                .add(Column::Revision.lte(convert::signed(upto)?)),
        )
        .order_by_asc(Column::Revision)
        .order_by_asc(Column::Ordinal)
        .limit(u64::from(limit)))
}

fn matching(filter: &AuditFilter) -> Condition {
    let one_of = |column: Column, names: &[String]| {
        (!names.is_empty()).then(|| column.is_in(names.iter().map(String::as_str)))
    };
    Condition::all()
        .add_option(
            filter
                .workspace
                .as_ref()
                .map(|workspace| Column::WorkspaceId.eq(workspace.as_str())),
        )
        .add_option(one_of(Column::ResourceKind, &filter.kinds))
        .add_option(one_of(Column::Action, &filter.actions))
}

fn event(row: Model) -> Result<AuditEvent, StoreError> {
    let json = |text: Option<String>| -> Result<Option<Value>, StoreError> {
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|_| corrupt("changes has a text that is no JSON"))
    };
    Ok(AuditEvent {
        revision: convert::unsigned(row.revision)?,
        ordinal: convert::unsigned(row.ordinal)?,
        time: Time::from_micros(row.time),
        actor: row.actor,
        on_behalf_of: row.on_behalf_of,
        action: row.action,
        kind: row.resource_kind,
        workspace: convert::workspace_id(&row.workspace_id)?,
        id: row.resource_id,
        before: json(row.before)?,
        after: json(row.after)?,
    })
}
