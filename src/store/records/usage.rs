//! Usage as a series, and what restrictions in shadow would have denied.

use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder,
};

use super::convert;
use crate::app::ports::{Interval, ShadowCount, StoreError, UsagePlace, UsagePoint, UsageQuery};
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::time::Time;
use crate::store::convert::{key_id, parse, unsigned};
use crate::store::entity::shadow_counts;
use crate::store::entity::usage::{Column, Entity};
use crate::store::error::failed;

/// How many ids one `IN` takes.
const AT_ONCE: usize = 500;

/// Usage, added up.
pub(super) async fn series<C: ConnectionTrait>(
    connection: &C,
    query: &UsageQuery,
) -> Result<Vec<UsagePoint>, StoreError> {
    let rows = connection
        .query_all(&select(query)?)
        .await
        .map_err(failed)?;
    let mut points = Vec::with_capacity(rows.len());
    for row in rows {
        let start: i64 = row.try_get_by_index(0).map_err(failed)?;
        let count: i64 = row.try_get_by_index(1).map_err(failed)?;
        let mut place = UsagePlace {
            start: Time::from_micros(start),
            key: String::new(),
            subscription: String::new(),
            route: String::new(),
            decision: String::new(),
            reason: String::new(),
        };
        for (at, column) in grouped(query).into_iter().enumerate() {
            let at = at + 2;
            if matches!(column, Column::KeyId) {
                let id: Vec<u8> = row.try_get_by_index(at).map_err(failed)?;
                if !id.is_empty() {
                    place.key = key_id(&id)?.to_string();
                }
                continue;
            }
            let text: String = row.try_get_by_index(at).map_err(failed)?;
            match column {
                Column::Subscription => place.subscription = text,
                Column::Route => place.route = text,
                Column::Decision => place.decision = text,
                _ => place.reason = text,
            }
        }
        points.push(UsagePoint {
            place,
            count: unsigned(count)?,
        });
    }
    Ok(points)
}

/// What it is told apart by, in the order of the primary key.
fn grouped(query: &UsageQuery) -> Vec<Column> {
    let groups = query.groups;
    [
        (groups.key, Column::KeyId),
        (groups.subscription, Column::Subscription),
        (groups.route, Column::Route),
        (groups.decision, Column::Decision),
        (groups.reason, Column::Reason),
    ]
    .into_iter()
    .filter_map(|(wanted, column)| wanted.then_some(column))
    .collect()
}

/// The beginning of the interval: hours stand there, days are made of them.
fn bucket(interval: Interval) -> Expr {
    let hour = Expr::col(Column::Hour);
    match interval {
        Interval::Hour => hour,
        Interval::Day => {
            let day = interval.micros();
            // Both databases cut off what remains; there is no usage of before 1970.
            hour.div(Expr::cust(day.to_string()))
                .mul(Expr::cust(day.to_string()))
        }
    }
}

fn select(query: &UsageQuery) -> Result<SelectStatement, StoreError> {
    let mut filter = Condition::all()
        .add(Column::WorkspaceId.eq(query.workspace.as_str()))
        .add(Column::Hour.gte(query.start.micros()))
        .add(Column::Hour.lt(query.end.micros()))
        .add_option(
            query
                .key
                .map(|key| Column::KeyId.eq(key.to_bytes().to_vec())),
        )
        .add_option(query.subscriptions.as_ref().map(|subscriptions| {
            Column::Subscription.is_in(subscriptions.iter().map(|s| s.as_str()))
        }))
        .add_option(query.route.as_ref().map(|r| Column::Route.eq(r.as_str())))
        .add_option(
            query
                .allowed
                .map(|allowed| Column::Decision.eq(convert::decision(allowed))),
        );
    let columns = grouped(query);
    if let Some(after) = &query.after {
        let mut place = vec![bucket(query.interval)];
        let mut cursor = vec![Expr::val(after.start.micros())];
        for column in &columns {
            place.push(Expr::col(*column));
            cursor.push(match column {
                Column::KeyId => {
                    let key: Option<KeyId> = match &*after.key {
                        "" => None,
                        key => Some(parse(key, "a page token")?),
                    };
                    Expr::val(convert::key_or_none(key))
                }
                Column::Subscription => Expr::val(after.subscription.clone()),
                Column::Route => Expr::val(after.route.clone()),
                Column::Decision => Expr::val(after.decision.clone()),
                _ => Expr::val(after.reason.clone()),
            });
        }
        filter = filter.add(Expr::tuple(place).gt(Expr::tuple(cursor)));
    }
    let mut select = Query::select();
    select
        .expr_as(bucket(query.interval), "bucket")
        .expr_as(Expr::col(Column::Count).sum().cast_as("bigint"), "total")
        .from(Entity)
        .cond_where(filter)
        .add_group_by([bucket(query.interval)])
        .order_by_expr(bucket(query.interval), Order::Asc)
        .limit(u64::from(query.limit));
    for column in columns {
        select
            .column(column)
            .group_by_col(column)
            .order_by(column, Order::Asc);
    }
    Ok(select)
}

/// What restrictions in shadow would have denied these keys.
pub(super) async fn shadow<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    keys: &[KeyId],
) -> Result<Vec<ShadowCount>, StoreError> {
    use shadow_counts::Column;
    let mut counts = Vec::new();
    for some in keys.chunks(AT_ONCE) {
        let rows = shadow_counts::Entity::find()
            .filter(Column::WorkspaceId.eq(workspace.as_str()))
            .filter(Column::KeyId.is_in(some.iter().map(|key| key.to_bytes().to_vec())))
            .order_by_asc(Column::KeyId)
            .order_by_asc(Column::Route)
            .order_by_asc(Column::Reason)
            .all(connection)
            .await
            .map_err(failed)?;
        for row in rows {
            counts.extend(convert::shadow_count(row)?);
        }
    }
    Ok(counts)
}
