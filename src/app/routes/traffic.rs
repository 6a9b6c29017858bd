//! Who comes by routes: which one a request would take, and how many still pass without a key.

use std::collections::BTreeMap;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::{KeylessUse, StoreError};
use crate::domain::decision::Reason;
use crate::domain::id::{RouteId, WorkspaceId};
use crate::domain::route::Route;
use crate::domain::route::pattern::Segment;
use crate::domain::time::Time;
use crate::index::Matched;

use super::RouteWarning;

/// The route that a request would take.
#[derive(Debug, Clone, Default)]
pub struct MatchedRoute {
    /// The route; none takes the request.
    pub route: Option<Route>,
    /// What its captures are, decoded.
    pub captures: BTreeMap<String, String>,
    /// Why the path is refused; empty: it is not.
    pub refusal: &'static str,
}

impl Core {
    /// Which route a request would take, as decisions see it now.
    pub async fn match_route(
        &self,
        workspace: &WorkspaceId,
        (host, method, path): (&str, &str, &str),
    ) -> Result<MatchedRoute, Error> {
        self.require_workspace(workspace).await?;
        let Some(table) = self.index.routes_of(workspace.as_str()) else {
            return Ok(MatchedRoute::default());
        };
        let found = table.find(host.as_bytes(), method.as_bytes(), path.as_bytes());
        Ok(match found {
            Ok(None) => MatchedRoute::default(),
            Ok(Some(matched)) => MatchedRoute {
                route: Some(Route::clone(matched.route)),
                captures: captures(&matched),
                refusal: "",
            },
            Err(bad) => MatchedRoute {
                refusal: bad.as_str(),
                ..MatchedRoute::default()
            },
        })
    }

    /// How often routes of one workspace were passed without a key: what is written down, and what is not yet.
    pub(super) async fn keyless_uses(&self, routes: &[Route]) -> Result<Vec<KeylessUse>, Error> {
        let Some(workspace) = routes.first().map(|route| &route.workspace) else {
            return Ok(Vec::new());
        };
        let ids: Vec<RouteId> = routes.iter().map(|route| route.id.clone()).collect();
        let mut sums: BTreeMap<(RouteId, Reason), (u64, Time)> = BTreeMap::new();
        let mut add = |id: RouteId, reason: Reason, count: u64, last: Time| {
            let sum = sums.entry((id, reason)).or_insert((0, last));
            *sum = (sum.0 + count, sum.1.max(last));
        };
        let table = self.index.routes_of(workspace.as_str());
        for route in ids.iter().filter_map(|id| table.as_ref()?.get(id.as_str())) {
            for (reason, count, last) in route.uses.read() {
                add(route.id.clone(), reason, count, last);
            }
        }
        for written in self.store.keyless_uses(workspace, &ids).await? {
            add(written.route, written.reason, written.count, written.last);
        }
        Ok(sums
            .into_iter()
            .map(|((route, reason), (count, last))| KeylessUse {
                workspace: workspace.clone(),
                route,
                reason,
                count,
                last,
            })
            .collect())
    }

    /// What it means to save a route that is grandfathered.
    pub(super) async fn ends_grandfathering(&self, route: &Route) -> Result<RouteWarning, Error> {
        let uses = self.keyless_uses(std::slice::from_ref(route)).await?;
        let count: u64 = uses.iter().map(|u| u.count).sum();
        let seen = if count == 0 {
            "none has been seen to come without".to_owned()
        } else {
            format!("{count} have been let through without, and would be refused")
        };
        Ok(RouteWarning {
            code: "GRANDFATHERING_ENDS".to_owned(),
            message: format!(
                "once this is saved, requests to route `{}` need an API key; {seen}",
                route.id
            ),
        })
    }

    /// Writes down who passed without a key since the last time. What can't be written is counted on.
    pub async fn flush_keyless_uses(&self) -> Result<(), StoreError> {
        let mut taken = Vec::new();
        for table in self.index.all_routes() {
            for route in table.iter() {
                for (reason, count, last) in route.uses.take() {
                    let used = KeylessUse {
                        workspace: route.workspace.clone(),
                        route: route.id.clone(),
                        reason,
                        count,
                        last,
                    };
                    taken.push((route.uses.clone(), used));
                }
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = taken.iter().map(|(_, used)| used.clone()).collect();
        let done = self.store.add_keyless_uses(&uses).await;
        if done.is_err() {
            for (noted, used) in &taken {
                noted.put_back(used.reason, used.count);
            }
        }
        done
    }
}

fn captures(matched: &Matched<'_, '_>) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let template = matched.route.settings.path.iter();
    let segments = template.flat_map(|path| path.segments()).enumerate();
    segments
        .filter_map(|(at, segment)| match segment {
            Segment::Literal(_) => None,
            Segment::Capture(name) => {
                let found = matched.path.segment(at)?;
                Some((name.clone(), text(found)))
            }
            Segment::Rest(name) => {
                let rest = matched.path.tail(at).unwrap_or_default();
                Some((name.clone(), text(&rest)))
            }
        })
        .collect()
}
