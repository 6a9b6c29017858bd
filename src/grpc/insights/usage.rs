//! `Insights.GetUsage`.

use tonic::Request;

use super::InsightsService;
use super::decisions::{decision, route, wire_decision};
use crate::app::error::Error;
use crate::app::page;
use crate::app::ports::{Groups, Interval, UsagePoint};
use crate::app::recorded::UsagePage;
use crate::domain::decision::Reason;
use crate::domain::scope::AdminScope;
use crate::grpc::authorize::wire_reason;
use crate::grpc::convert;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

impl InsightsService {
    pub(super) async fn page_of_usage(
        &self,
        request: Request<v1::GetUsageRequest>,
    ) -> Result<v1::GetUsageResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let moment = |field: &str, at: Option<prost_types::Timestamp>| {
            at.map(|at| convert::time(field, at)).transpose()
        };
        let interval = convert::enumeration::<v1::UsageInterval>("interval", message.interval)?;
        let page = UsagePage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            key: convert::parse_optional("key_id", &message.key_id)?,
            subscription: convert::parse_optional("subscription", &message.subscription)?,
            route: route("route", message.route)?,
            allowed: decision("decision", message.decision)?,
            start: moment("start_time", message.start_time)?,
            end: moment("end_time", message.end_time)?,
            interval: match interval {
                v1::UsageInterval::Unspecified | v1::UsageInterval::Hour => Interval::Hour,
                v1::UsageInterval::Day => Interval::Day,
            },
            groups: groups(&message.group_by)?,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let groups = page.groups;
        let (points, next_page_token) = self.core.usage(&caller, page).await?;
        Ok(v1::GetUsageResponse {
            points: points
                .into_iter()
                .map(|point| wire(point, groups))
                .collect(),
            next_page_token,
        })
    }
}

fn groups(list: &[i32]) -> Result<Groups, Error> {
    let mut groups = Groups::default();
    for (i, number) in list.iter().enumerate() {
        let field = format!("group_by[{i}]");
        let group = match convert::enumeration::<v1::UsageDimension>(&field, *number)? {
            v1::UsageDimension::Unspecified => {
                return Err(Error::invalid(field, "is unspecified; name a dimension"));
            }
            v1::UsageDimension::Key => &mut groups.key,
            v1::UsageDimension::Subscription => &mut groups.subscription,
            v1::UsageDimension::Route => &mut groups.route,
            v1::UsageDimension::Decision => &mut groups.decision,
            v1::UsageDimension::Reason => &mut groups.reason,
        };
        if std::mem::replace(group, true) {
            return Err(Error::invalid(
                field,
                "stands in the list already; remove one",
            ));
        }
    }
    Ok(groups)
}

fn wire(point: UsagePoint, groups: Groups) -> v1::UsagePoint {
    let place = point.place;
    let decision = groups
        .decision
        .then(|| wire_decision(place.decision == "ALLOW"));
    let reason = Reason::of(&place.reason).map(|reason| wire_reason(reason).into());
    v1::UsagePoint {
        start_time: Some(convert::timestamp(place.start)),
        key_id: place.key,
        subscription: place.subscription,
        route: place.route,
        decision: decision.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        count: i64::try_from(point.count).unwrap_or(i64::MAX),
    }
}
