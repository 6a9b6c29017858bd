//! What most tests stand on: a service with two tenants, and short words for common calls.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, secret_source::Source};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::server::{Client, TestServer};

/// A strong token that somebody else made; `n` tells one from another.
pub(crate) fn foreign_token(n: u32) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(n.to_be_bytes());
    digest.iter().take(24).map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn sha256_hex(token: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(token)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A UUID that makes a call repeatable.
pub(crate) fn request_id(n: u32) -> String {
    format!("3f2b8c1e-6d4a-4c9b-8e7f-{n:012x}")
}

/// The answer of a call that must succeed.
#[track_caller]
pub(crate) fn ok<T>(result: Result<Response<T>, Status>) -> T {
    match result {
        Ok(response) => response.into_inner(),
        Err(status) => panic!("refused: {:?} {}", status.code(), status.message()),
    }
}

/// The stable reason of an error, and the fields it names.
pub(crate) fn details(status: &Status) -> (String, Vec<String>) {
    let details = status.get_error_details();
    let reason = details
        .error_info()
        .map(|i| i.reason.clone())
        .unwrap_or_default();
    let fields = details
        .bad_request()
        .map(|b| b.field_violations.iter().map(|v| v.field.clone()).collect());
    (reason, fields.unwrap_or_default())
}

/// A call that must be refused in exactly this way.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<Response<T>, Status>,
    code: Code,
    reason: &str,
) -> Status {
    let status = match result {
        Ok(response) => panic!("not refused: {:?}", response.into_inner()),
        Err(status) => status,
    };
    let found = (status.code(), details(&status).0);
    assert_eq!(found, (code, reason.to_owned()), "{}", status.message());
    assert!(!status.message().is_empty());
    status
}

/// A call that must be refused because of this field.
#[track_caller]
pub(crate) fn invalid<T: std::fmt::Debug>(
    result: Result<Response<T>, Status>,
    field: &str,
) -> Status {
    let status = match result {
        Ok(response) => panic!("not refused: {:?}", response.into_inner()),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    let (reason, fields) = details(&status);
    assert!(
        fields.iter().any(|f| f == field),
        "{field} is not among {fields:?}: {}",
        status.message()
    );
    assert!(!reason.is_empty());
    status
}

/// A name and nothing else.
pub(crate) fn named(name: &str) -> v1::Key {
    v1::Key {
        display_name: name.to_owned(),
        ..Default::default()
    }
}

/// A key with these scopes.
pub(crate) fn holding(scopes: &[&str]) -> v1::Key {
    v1::Key {
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        ..named("a key")
    }
}

pub(crate) fn creating(workspace: &str, key: v1::Key) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        workspace: workspace.to_owned(),
        key: Some(key),
        ..Default::default()
    }
}

fn source(source: Source) -> Option<v1::SecretSource> {
    Some(v1::SecretSource {
        source: Some(source),
    })
}

pub(crate) fn generated() -> Option<v1::SecretSource> {
    source(Source::Generate(v1::GenerateSecret { prefix: None }))
}

pub(crate) fn prefixed(prefix: &str) -> Option<v1::SecretSource> {
    source(Source::Generate(v1::GenerateSecret {
        prefix: Some(prefix.to_owned()),
    }))
}

pub(crate) fn external(token: &str) -> Option<v1::SecretSource> {
    source(Source::ExternalToken(v1::ExternalToken {
        token: token.to_owned(),
        allow_weak: false,
    }))
}

pub(crate) fn external_weak(token: &str) -> Option<v1::SecretSource> {
    source(Source::ExternalToken(v1::ExternalToken {
        token: token.to_owned(),
        allow_weak: true,
    }))
}

pub(crate) fn digest(token: &str, bits: u32, allow_weak: bool) -> Option<v1::SecretSource> {
    source(Source::ExternalDigest(v1::ExternalDigest {
        sha256_hex: sha256_hex(token),
        asserted_entropy_bits: bits,
        allow_weak,
    }))
}

pub(crate) fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(|p| (*p).to_owned()).collect(),
    })
}

pub(crate) fn duration(seconds: u64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: seconds as i64,
        nanos: 0,
    })
}

/// A question about a token, presented in a header of its own.
pub(crate) fn asking(workspace: &str, token: &str, scopes: &[&str]) -> v1::CheckRequest {
    v1::CheckRequest {
        workspace: workspace.to_owned(),
        credential: Some(v1::Credential {
            token: token.to_owned(),
            presentation: 0,
        }),
        required_scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    }
}

/// A key as it was made, with its tokens by slot.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) key: v1::Key,
    pub(crate) primary: String,
    pub(crate) secondary: String,
}

impl Made {
    pub(crate) fn id(&self) -> String {
        self.key.id.clone()
    }

    pub(crate) fn secret(&self, slot: v1::Slot) -> String {
        let of_slot = |s: &&v1::Secret| s.slot() == slot && s.state() == v1::secret::State::Active;
        self.key.secrets.iter().find(of_slot).unwrap().id.clone()
    }
}

impl From<v1::CreateKeyResponse> for Made {
    fn from(answer: v1::CreateKeyResponse) -> Self {
        let token = |slot: v1::Slot| {
            let issued = answer.tokens.iter().find(|t| t.slot() == slot);
            issued.map(|t| t.token.clone()).unwrap_or_default()
        };
        Self {
            primary: token(v1::Slot::Primary),
            secondary: token(v1::Slot::Secondary),
            key: answer.key.unwrap(),
        }
    }
}

/// A service with the tenants `acme` and `other`, each with a catalogue (`orders:read`, `orders:write`), the subscriptions
/// `basic` and `pro`, and an administrator of its own.
pub(crate) struct Stage {
    pub(crate) server: TestServer,
    pub(crate) system: Client,
    pub(crate) acme: Client,
    pub(crate) other: Client,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let server = TestServer::start().await;
        let system = server.admin();
        let mut tokens = Vec::new();
        for workspace in ["acme", "other"] {
            tenant(&system, workspace).await;
            let made = ok(system
                .keys()
                .create_key(creating(workspace, holding(&["claviger:*"])))
                .await);
            tokens.push(Made::from(made).primary);
        }
        let (acme, other) = (
            server.client_with(&tokens[0]),
            server.client_with(&tokens[1]),
        );
        Self {
            server,
            system,
            acme,
            other,
        }
    }

    /// Makes a key; its tokens, handed in or generated, must be in no file afterwards.
    pub(crate) async fn make(&self, request: v1::CreateKeyRequest) -> Made {
        for source in [&request.primary, &request.secondary].into_iter().flatten() {
            if let Some(Source::ExternalToken(external)) = &source.source {
                self.server.remember(&external.token);
            }
        }
        let made: Made = ok(self.system.keys().create_key(request).await).into();
        self.server.remember(&made.primary);
        self.server.remember(&made.secondary);
        made
    }

    /// Stops the service, and starts it again on the same folder. Clients of before are to be made again.
    pub(crate) async fn restart(self) -> Self {
        let server = self.server.restart().await;
        let client = |old: &Client| server.client_as(old);
        Self {
            system: client(&self.system),
            acme: client(&self.acme),
            other: client(&self.other),
            server,
        }
    }

    /// A key of `acme` with these scopes.
    pub(crate) async fn key(&self, scopes: &[&str]) -> Made {
        self.make(creating("acme", holding(scopes))).await
    }

    /// A caller of a workspace with these scopes.
    pub(crate) async fn caller(&self, workspace: &str, scopes: &[&str]) -> Client {
        let made = self.make(creating(workspace, holding(scopes))).await;
        self.server.client_with(&made.primary)
    }

    /// A caller of `acme` with these scopes, bound to these subscriptions.
    pub(crate) async fn bound(&self, scopes: &[&str], subscriptions: &[&str]) -> Client {
        let key = v1::Key {
            subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
            ..holding(scopes)
        };
        let made = self.make(creating("acme", key)).await;
        self.server.client_with(&made.primary)
    }

    pub(crate) async fn check(&self, request: v1::CheckRequest) -> v1::CheckResponse {
        ok(self.system.authorize().check(request).await)
    }

    /// What a token of `acme` is told when nothing is demanded.
    pub(crate) async fn reason(&self, token: &str) -> v1::Reason {
        self.check(asking("acme", token, &[])).await.reason()
    }

    /// Where history stands.
    pub(crate) async fn revision(&self) -> String {
        self.check(asking("acme", "nobody's", &[])).await.revision
    }

    pub(crate) async fn get(&self, id: &str) -> v1::Key {
        let request = v1::GetKeyRequest { id: id.to_owned() };
        ok(self.system.keys().get_key(request).await).key.unwrap()
    }

    /// Changes the settings of a workspace.
    pub(crate) async fn configure(&self, workspace: &str, settings: v1::WorkspaceSettings) {
        let request = v1::UpdateWorkspaceRequest {
            workspace: Some(v1::Workspace {
                id: workspace.to_owned(),
                settings: Some(settings),
                ..Default::default()
            }),
            update_mask: mask(&["settings"]),
            ..Default::default()
        };
        ok(self.system.directory().update_workspace(request).await);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.server.advance(by);
    }
}

async fn tenant(system: &Client, workspace: &str) {
    let id = workspace.to_owned();
    let request = v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(system.directory().create_workspace(request).await);
    for name in ["orders:read", "orders:write"] {
        ok(system
            .directory()
            .create_scope(declaring(workspace, name))
            .await);
    }
    for name in ["basic", "pro"] {
        ok(system
            .directory()
            .create_subscription(selling(workspace, name))
            .await);
    }
}

pub(crate) fn declaring(workspace: &str, name: &str) -> v1::CreateScopeRequest {
    v1::CreateScopeRequest {
        scope: Some(v1::Scope {
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn routing(workspace: &str, id: &str, path: &str) -> v1::CreateRouteRequest {
    v1::CreateRouteRequest {
        route: Some(v1::Route {
            workspace: workspace.to_owned(),
            id: id.to_owned(),
            path: path.to_owned(),
            required_scopes: vec!["orders:read".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn selling(workspace: &str, id: &str) -> v1::CreateSubscriptionRequest {
    v1::CreateSubscriptionRequest {
        subscription: Some(v1::Subscription {
            workspace: workspace.to_owned(),
            id: id.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A principal with these permissions.
pub(crate) fn knowing(workspace: &str, id: &str, scopes: &[&str]) -> v1::UpsertPrincipalRequest {
    v1::UpsertPrincipalRequest {
        principal: Some(v1::Principal {
            workspace: workspace.to_owned(),
            ..somebody(id, scopes)
        }),
        update_mask: mask(&["scopes"]),
        ..Default::default()
    }
}

/// A principal with these permissions, of whatever workspace.
pub(crate) fn somebody(id: &str, scopes: &[&str]) -> v1::Principal {
    v1::Principal {
        id: id.to_owned(),
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    }
}

/// A key bound to a principal, which lists these scopes.
pub(crate) fn bound_to(principal: &str, scopes: &[&str]) -> v1::Key {
    v1::Key {
        principal: principal.to_owned(),
        ..holding(scopes)
    }
}
