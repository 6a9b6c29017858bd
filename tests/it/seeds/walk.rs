//! What the walks stand on: a platform of a tenant whose requests come through the real Envoy, and its administrator.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use claviger::grpc::proto::v1;

use crate::api::stage::{Made, Stage, creating, declaring, mask, ok};
use crate::harness::server::Client;
use crate::harness::{
    BINARY, Connection, Envoy, EnvoyOptions, Folder, PATIENCE, Response, Route, Upstream, register,
};

/// The tenant.
pub(super) const WORKSPACE: &str = "acme";
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Where a client is, unless the walk says otherwise.
pub(super) const HERE: &str = "127.0.0.1";

/// All parts, running. The folder goes last: it is searched for tokens when Envoy, which writes its log there, has ended.
pub(super) struct Platform {
    pub(super) envoy: Envoy,
    pub(super) stage: Stage,
    upstream: Upstream,
    folder: Arc<Folder>,
}

impl Platform {
    /// Envoy leads these paths to the platform's own service.
    pub(super) async fn start(routes: Vec<Route>) -> Self {
        Self::start_with(EnvoyOptions {
            routes,
            ..EnvoyOptions::default()
        })
        .await
    }

    pub(super) async fn start_with(options: EnvoyOptions) -> Self {
        let stage = Stage::set().await;
        let folder = Folder::new();
        let upstream = Upstream::start();
        let envoy = Envoy::start(&folder, stage.server.address(), &upstream, &options);
        Self {
            envoy,
            stage,
            upstream,
            folder,
        }
    }

    /// The administrator of the tenant.
    pub(super) fn admin(&self) -> &Client {
        &self.stage.acme
    }

    /// What the platform's keys may be granted.
    pub(super) async fn declare(&self, scopes: &[&str]) {
        for name in scopes {
            let request = declaring(WORKSPACE, name);
            ok(self.admin().directory().create_scope(request).await);
        }
    }

    /// Changes the settings of the tenant that are named, as its administrator; the others stay.
    pub(super) async fn set(&self, settings: v1::WorkspaceSettings, paths: &[&str]) {
        let request = v1::UpdateWorkspaceRequest {
            workspace: Some(v1::Workspace {
                id: WORKSPACE.to_owned(),
                settings: Some(settings),
                ..Default::default()
            }),
            update_mask: mask(paths),
            ..Default::default()
        };
        ok(self.admin().directory().update_workspace(request).await);
    }

    /// From now on neither a file of the service nor what Envoy has written may hold this token.
    pub(super) fn remember(&self, token: &str) {
        self.stage.server.remember(token);
        register(token);
    }

    /// Makes a key as this caller, whose tokens are remembered.
    pub(super) async fn make_as(&self, caller: &Client, key: v1::Key) -> Made {
        let request = creating("", key);
        let made = Made::from(ok(caller.keys().create_key(request).await));
        for token in [&made.primary, &made.secondary] {
            if !token.is_empty() {
                self.remember(token);
            }
        }
        made
    }

    /// Makes a key as the administrator.
    pub(super) async fn make(&self, key: v1::Key) -> Made {
        self.make_as(self.admin(), key).await
    }

    /// Changes the settings of a key that are named.
    pub(super) async fn update(&self, id: &str, key: v1::Key, paths: &[&str]) -> v1::Key {
        let request = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: id.to_owned(),
                ..key
            }),
            update_mask: mask(paths),
            ..Default::default()
        };
        let answer = ok(self.admin().keys().update_key(request).await);
        answer.key.unwrap()
    }

    /// Moves the slider of a key.
    pub(super) async fn enable(&self, id: &str, enabled: bool) {
        let key = v1::Key {
            enabled: Some(enabled),
            ..Default::default()
        };
        self.update(id, key, &["enabled"]).await;
    }

    pub(super) async fn delete(&self, id: String) {
        let request = v1::DeleteKeyRequest {
            id,
            ..Default::default()
        };
        ok(self.admin().keys().delete_key(request).await);
    }

    /// The list of keys.
    pub(super) async fn list(&self, filter: v1::KeyFilter) -> Vec<v1::Key> {
        let request = v1::ListKeysRequest {
            filter: Some(filter),
            ..Default::default()
        };
        ok(self.admin().keys().list_keys(request).await).keys
    }

    /// A client's connection to Envoy.
    pub(super) async fn connect(&self, from: &str) -> Connection {
        Connection::open(from.parse().unwrap(), self.envoy.address()).await
    }

    /// One request; the service behind Envoy is asked exactly if it is allowed.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let before = self.upstream.count();
        let mut connection = self.connect(HERE).await;
        let response = connection.send(method, path, headers, body);
        let asked = self.upstream.count() - before;
        assert_eq!(
            asked,
            usize::from(response.status == 200),
            "{}",
            response.text()
        );
        response
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, "").await
    }

    /// What `claviger` says to this caller on the command line.
    pub(super) fn claviger(&self, token: &str, args: &[&str]) -> String {
        let output = Command::new(BINARY)
            .args(args)
            .args(["--workspace", WORKSPACE, "--timeout", "60s"])
            .env_clear()
            .env("CLAVIGER_TOKEN", token)
            .env(
                "CLAVIGER_ENDPOINT",
                format!("http://{}", self.stage.server.address()),
            )
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {complained}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A file for `claviger` to read.
    pub(super) fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// A caller of the tenant with these rights; its token is for the command line.
    pub(super) async fn caller(&self, rights: &[&str]) -> String {
        let key = v1::Key {
            display_name: "a caller".to_owned(),
            scopes: rights.iter().map(|r| (*r).to_owned()).collect(),
            ..Default::default()
        };
        self.make(key).await.primary
    }

    /// The log of requests, once it has this many rows.
    pub(super) async fn logged(&self, count: usize) -> Vec<v1::LoggedDecision> {
        let request = v1::ListDecisionsRequest::default;
        let rows = async || {
            let answer = self.admin().insights().list_decisions(request()).await;
            let rows = ok(answer).decisions;
            (rows.len() >= count).then_some(rows)
        };
        let rows = in_time(rows).await;
        assert_eq!(rows.len(), count, "{rows:#?}");
        rows
    }
}

/// Asks again until there is an answer: what is written in the background tells nobody.
pub(super) async fn in_time<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, look).await;
    found.expect("what is written in the background is there in time")
}

/// A refusal with this status, whose body names this problem.
#[track_caller]
pub(super) fn is_refused(response: &Response, status: u16, problem: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(problem), "{}", response.text());
}
