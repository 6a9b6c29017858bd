//! The tables of all workspaces, as part of the index: built by its writer, read by everybody.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::domain::id::{RouteId, WorkspaceId};
use crate::domain::route::Route;
use crate::domain::route::pattern::{MAX_HOST, normal_host};
use crate::index::Index;

use super::RouteTable;

impl Index {
    /// Puts routes in, in place of older states of them, and takes out those that are gone: each table is built once.
    pub fn put_routes(
        &self,
        changes: impl IntoIterator<Item = (WorkspaceId, RouteId, Option<Route>)>,
    ) {
        let mut by_workspace = BTreeMap::<WorkspaceId, Vec<_>>::new();
        for (workspace, id, route) in changes {
            by_workspace.entry(workspace).or_default().push((id, route));
        }
        for (workspace, changes) in by_workspace {
            let mut writer = self.writer();
            let old = self.routes.pin().get(&workspace).cloned();
            let before = writer.before.as_ref();
            let before = before.and_then(|before| before.routes_of(workspace.as_str()));
            let demands = &mut writer.interner.demands;
            let table = RouteTable::changed(old.as_deref(), before.as_deref(), changes, demands);
            self.put_table(&workspace, table.map(Arc::new));
        }
    }

    /// The routes of a workspace, as they are now.
    pub fn routes_of(&self, workspace: &str) -> Option<Arc<RouteTable>> {
        self.routes.pin().get(workspace).cloned()
    }

    /// The routes of all workspaces, as they are now.
    pub fn all_routes(&self) -> Vec<Arc<RouteTable>> {
        self.routes.pin().values().cloned().collect()
    }

    /// Whose a host is, as a request says it.
    pub fn workspace_of_host(&self, host: &[u8]) -> Option<WorkspaceId> {
        let hosts = self.hosts.pin();
        if hosts.is_empty() {
            return None;
        }
        let mut buffer = [0; MAX_HOST];
        let host = normal_host(host, &mut buffer);
        super::claimants(host).find_map(|name| hosts.get(name).cloned())
    }

    /// Puts the table of a workspace in its place, or takes it out; the writer's lock is held.
    pub(in crate::index) fn put_table(
        &self,
        workspace: &WorkspaceId,
        table: Option<Arc<RouteTable>>,
    ) {
        let hosts = self.hosts.pin();
        let claimed: HashSet<&[u8]> = table.iter().flat_map(|t| t.claimed_hosts()).collect();
        hosts.retain(|host, owner| owner != workspace || claimed.contains(&**host));
        for host in claimed {
            hosts.insert(host.into(), workspace.clone());
        }
        let routes = self.routes.pin();
        match table {
            Some(table) => routes.insert(workspace.clone(), table),
            None => routes.remove(workspace),
        };
    }
}
