//! `Insights.GetShadowReport` and `ResetShadowReport`.

use tonic::Request;

use super::InsightsService;
use crate::app::error::Error;
use crate::app::page;
use crate::app::recorded::{ShadowPage, ShadowReport};
use crate::domain::scope::AdminScope;
use crate::grpc::authorize::wire_reason;
use crate::grpc::convert;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

impl InsightsService {
    pub(super) async fn page_of_shadow(
        &self,
        request: Request<v1::GetShadowReportRequest>,
    ) -> Result<v1::GetShadowReportResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let page = ShadowPage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            key: convert::parse_optional("key_id", &message.key_id)?,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let (reports, next_page_token) = self.core.shadow_report(&caller, page).await?;
        Ok(v1::GetShadowReportResponse {
            reports: reports.iter().map(wire).collect(),
            next_page_token,
        })
    }

    pub(super) async fn reset_shadow(
        &self,
        request: Request<v1::ResetShadowReportRequest>,
    ) -> Result<v1::ResetShadowReportResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysWrite])?;
        let key = convert::parse("key_id", &message.key_id)?;
        self.core.reset_shadow_report(&caller, key).await?;
        Ok(v1::ResetShadowReportResponse {})
    }
}

fn wire(report: &ShadowReport) -> v1::ShadowReport {
    let counts = report.counts.iter().map(|count| v1::ShadowCount {
        route: count.route.clone(),
        reason: wire_reason(count.reason).into(),
        count: i64::try_from(count.count).unwrap_or(i64::MAX),
        first_time: Some(convert::timestamp(count.first)),
        last_time: Some(convert::timestamp(count.last)),
    });
    v1::ShadowReport {
        key_id: report.key.id.to_string(),
        display_name: report.key.settings.display_name.clone(),
        enforcement: Some(convert::wire_enforcement(report.enforcement)),
        counts: counts.collect(),
        needed_cidrs: report.needed.iter().map(ToString::to_string).collect(),
        needed_cidrs_incomplete: report.incomplete,
        last_used_time: report.key.last_used_time().map(convert::timestamp),
        safe_to_enforce: report.is_safe(),
    }
}
