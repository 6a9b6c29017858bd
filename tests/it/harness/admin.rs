//! A client of the service: blocking, with the generated messages.

use std::net::SocketAddr;
use std::sync::Arc;

use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::directory_client::DirectoryClient;
use claviger::grpc::proto::v1::fleet_client::FleetClient;
use claviger::grpc::proto::v1::insights_client::InsightsClient;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::postbacks_client::PostbacksClient;
use claviger::grpc::proto::v1::routes_client::RoutesClient;
use claviger::grpc::proto::v1::{self, Key};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{PATIENCE, register, sooner_or_later};

/// A caller with a key, or without one.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) runtime: Arc<Runtime>,
    channel: Channel,
    token: Option<String>,
}

/// A key that was made.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// A key's settings, to fill in the rest with `..key("name", &[])`.
pub(crate) fn key(display_name: &str, scopes: &[&str]) -> Key {
    Key {
        display_name: display_name.to_owned(),
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        ..Key::default()
    }
}

/// One method per RPC.
macro_rules! calls {
    ($($client:ident: $($name:ident($request:ident) -> $response:ident),+;)+) => {
        $($(
            pub(crate) fn $name(&self, request: v1::$request) -> Result<v1::$response, Status> {
                let mut client = $client::new(self.channel.clone());
                let request = self.request(request);
                let answer = self.runtime.block_on(async move { client.$name(request).await });
                answer.map(tonic::Response::into_inner)
            }
        )+)+
    };
}

impl Admin {
    /// Connects when the first call is made.
    pub(crate) fn connect(address: SocketAddr, token: Option<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let channel = {
            let _in_runtime = runtime.enter();
            Endpoint::from_shared(format!("http://{address}"))
                .unwrap()
                .connect_timeout(PATIENCE)
                .connect_lazy()
        };
        Self {
            runtime: Arc::new(runtime),
            channel,
            token,
        }
    }

    /// A connection for calls from several tasks at once.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request that carries the key.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(PATIENCE);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    calls! {
        KeyAdminClient:
            create_key(CreateKeyRequest) -> CreateKeyResponse,
            list_keys(ListKeysRequest) -> ListKeysResponse,
            update_key(UpdateKeyRequest) -> UpdateKeyResponse,
            delete_key(DeleteKeyRequest) -> DeleteKeyResponse,
            regenerate_secret(RegenerateSecretRequest) -> RegenerateSecretResponse,
            reveal_secret(RevealSecretRequest) -> RevealSecretResponse,
            report_leak(ReportLeakRequest) -> ReportLeakResponse;
        FleetClient:
            list_replicas(ListReplicasRequest) -> ListReplicasResponse,
            wait_for_revision(WaitForRevisionRequest) -> WaitForRevisionResponse,
            verify_index(VerifyIndexRequest) -> VerifyIndexResponse,
            forget_replica(ForgetReplicaRequest) -> ForgetReplicaResponse;
        InsightsClient:
            get_key_hygiene(GetKeyHygieneRequest) -> GetKeyHygieneResponse;
        DirectoryClient:
            create_workspace(CreateWorkspaceRequest) -> CreateWorkspaceResponse,
            update_workspace(UpdateWorkspaceRequest) -> UpdateWorkspaceResponse,
            create_subscription(CreateSubscriptionRequest) -> CreateSubscriptionResponse,
            create_scope(CreateScopeRequest) -> CreateScopeResponse,
            upsert_principal(UpsertPrincipalRequest) -> UpsertPrincipalResponse;
        PostbacksClient:
            create_signing_secret(CreateSigningSecretRequest) -> CreateSigningSecretResponse,
            list_deliveries(ListDeliveriesRequest) -> ListDeliveriesResponse,
            publish_event(PublishEventRequest) -> PublishEventResponse;
        RoutesClient:
            create_route(CreateRouteRequest) -> CreateRouteResponse,
            get_route(GetRouteRequest) -> GetRouteResponse;
        AuthorizeClient:
            check(CheckRequest) -> CheckResponse,
            batch_check(BatchCheckRequest) -> BatchCheckResponse;
        InsightsClient:
            list_decisions(ListDecisionsRequest) -> ListDecisionsResponse,
            explain(ExplainRequest) -> ExplainResponse,
            get_usage(GetUsageRequest) -> GetUsageResponse;
    }

    /// Declares scopes.
    pub(crate) fn declare(&self, workspace: &str, scopes: &[&str]) {
        for name in scopes {
            let scope = v1::Scope {
                workspace: workspace.to_owned(),
                name: (*name).to_owned(),
                ..v1::Scope::default()
            };
            self.create_scope(v1::CreateScopeRequest {
                scope: Some(scope),
                ..Default::default()
            })
            .unwrap();
        }
    }

    /// Makes a workspace with scopes.
    pub(crate) fn workspace(&self, id: &str, scopes: &[&str]) {
        let workspace = v1::Workspace {
            id: id.to_owned(),
            display_name: id.to_owned(),
            ..v1::Workspace::default()
        };
        self.create_workspace(v1::CreateWorkspaceRequest {
            workspace: Some(workspace),
            ..Default::default()
        })
        .unwrap();
        self.declare(id, scopes);
    }

    /// Makes a subscription.
    pub(crate) fn subscription(&self, workspace: &str, id: &str) {
        let subscription = v1::Subscription {
            workspace: workspace.to_owned(),
            id: id.to_owned(),
            display_name: id.to_owned(),
            ..v1::Subscription::default()
        };
        self.create_subscription(v1::CreateSubscriptionRequest {
            subscription: Some(subscription),
            ..Default::default()
        })
        .unwrap();
    }

    /// Makes a key; its token is registered.
    pub(crate) fn make(&self, workspace: &str, key: Key) -> Made {
        let answer = self
            .create_key(v1::CreateKeyRequest {
                workspace: workspace.to_owned(),
                key: Some(key),
                ..Default::default()
            })
            .unwrap();
        let token = answer.tokens[0].token.clone();
        register(&token);
        let id = answer.key.unwrap().id;
        Made { id, token }
    }

    /// All keys of a workspace, page by page.
    pub(crate) fn keys(&self, workspace: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self
                .list_keys(v1::ListKeysRequest {
                    workspace: workspace.to_owned(),
                    page_size: 1000,
                    page_token,
                    ..Default::default()
                })
                .unwrap();
            keys.extend(page.keys);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return keys;
            }
        }
    }

    /// Changes the named fields of a key.
    pub(crate) fn update(&self, key: Key, fields: &[&str]) -> Result<Key, Status> {
        self.update_key(v1::UpdateKeyRequest {
            key: Some(key),
            update_mask: Some(mask(fields)),
            ..Default::default()
        })
        .map(|answer| answer.key.unwrap())
    }

    /// Switches a key on or off.
    pub(crate) fn enable(&self, id: &str, enabled: bool) -> Result<Key, Status> {
        let key = Key {
            id: id.to_owned(),
            enabled: Some(enabled),
            ..Key::default()
        };
        self.update(key, &["enabled"])
    }

    /// Switches a workspace on or off.
    pub(crate) fn enable_workspace(&self, id: &str, enabled: bool) {
        let workspace = v1::Workspace {
            id: id.to_owned(),
            enabled: Some(enabled),
            ..v1::Workspace::default()
        };
        self.update_workspace(v1::UpdateWorkspaceRequest {
            workspace: Some(workspace),
            update_mask: Some(mask(&["enabled"])),
            ..Default::default()
        })
        .unwrap();
    }

    /// Changes those settings of a workspace that are given.
    pub(crate) fn change_settings(&self, workspace: &str, settings: v1::WorkspaceSettings) {
        let workspace = v1::Workspace {
            id: workspace.to_owned(),
            settings: Some(settings),
            ..v1::Workspace::default()
        };
        self.update_workspace(v1::UpdateWorkspaceRequest {
            workspace: Some(workspace),
            ..Default::default()
        })
        .unwrap();
    }

    /// Is this token allowed when it is presented in a header, and no scope is demanded?
    pub(crate) fn decide(&self, workspace: &str, token: &str) -> v1::CheckResponse {
        self.check(check_of(workspace, token)).unwrap()
    }

    /// The decisions about many tokens.
    pub(crate) fn decide_all(&self, workspace: &str, tokens: &[String]) -> Vec<v1::CheckResponse> {
        let mut decisions = Vec::new();
        for tokens in tokens.chunks(1000) {
            let checks = tokens.iter().map(|t| check_of(workspace, t)).collect();
            let answer = self.batch_check(v1::BatchCheckRequest { checks }).unwrap();
            decisions.extend(answer.results.into_iter().map(|r| match r.result {
                Some(v1::batch_check_result::Result::Response(response)) => response,
                other => panic!("no decision: {other:?}"),
            }));
        }
        decisions
    }

    /// What this replica decides with is what the database holds; returns how many keys that is.
    pub(crate) fn assert_verified(&self) -> i64 {
        // The machine may be so busy that the counter can't be held in time.
        let found = sooner_or_later(|| self.verify_index(v1::VerifyIndexRequest {}));
        assert!(found.equal, "{found:?}");
        let keys = found.kinds.iter().find(|kind| kind.kind == "keys");
        keys.unwrap().index_count
    }
}

/// A question about a token that demands nothing.
pub(crate) fn check_of(workspace: &str, token: &str) -> v1::CheckRequest {
    v1::CheckRequest {
        workspace: workspace.to_owned(),
        credential: Some(v1::Credential {
            token: token.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn mask(fields: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask {
        paths: fields.iter().map(|f| (*f).to_owned()).collect(),
    }
}
