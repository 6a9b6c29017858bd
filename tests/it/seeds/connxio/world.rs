//! Connxio as it is set up: its catalogue, its integrations, and who issues OAuth tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::grpc::proto::v1::{self, Presentation};
use hmac::{Hmac, KeyInit as _, Mac as _};
use tonic::{Response, Status};

use crate::api::stage::{Made, declaring, holding, ok, selling};
use crate::harness::server::Client;
use crate::harness::{EnvoyOptions, basic, demands};
use crate::seeds::walk::{Platform, WORKSPACE};

/// Who issues the OAuth tokens here signs them with this.
pub(super) const ISSUER_KEY: &[u8] = b"what-only-the-issuer-of-tokens-knows";
pub(super) const HEADER: &str = "Connxio-Api-Key";
pub(super) const TRACKING: &str = "Ocp-Apim-Subscription-Key";
pub(super) const MESSAGES: &str = "/connxio/v1/gold/messages";
pub(super) const WEBHOOK: &str = "/connxio/v1/gold/webhooks/orders";

/// Envoy verifies tokens; one that is missing is Claviger's to judge, one that is forged is not.
fn jwt_authn() -> String {
    let jwks = format!(
        r#"{{"keys":[{{"kty":"oct","alg":"HS256","k":"{}"}}]}}"#,
        URL_SAFE_NO_PAD.encode(ISSUER_KEY)
    );
    format!(
        r#"                  - name: envoy.filters.http.jwt_authn
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                      providers:
                        oauth:
                          issuer: https://login.example.com
                          forward: true
                          payload_in_metadata: jwt_payload
                          local_jwks: {{ inline_string: '{jwks}' }}
                      rules:
                        - match: {{ path_separated_prefix: /connxio }}
                          requires:
                            requires_any:
                              requirements: [{{ provider_name: oauth }}, {{ allow_missing: {{}} }}]
"#
    )
}

/// An OAuth token with this scope, signed with `signing_key`.
pub(super) fn oauth(scope: &str, signing_key: &[u8]) -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let signed = format!(
        "{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(&format!(
            r#"{{"iss":"https://login.example.com","sub":"crm","scope":"{scope}","exp":4102444800}}"#
        ))
    );
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(signing_key).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("Bearer {signed}.{signature}")
}

/// The platform with the catalogue of its document, and its tracking keys; a customer has the subscription `gold`.
pub(super) struct Connxio {
    pub(super) platform: Platform,
    tracking_key: Made,
}

impl Connxio {
    /// As it was before there were keys, or as it is now; its integrations are made by each walk.
    pub(super) async fn start(scheme: v1::KeyScheme) -> Self {
        let platform = Platform::start_with(EnvoyOptions {
            routes: vec![demands("/connxio", &[("workspace", WORKSPACE)])],
            filters: jwt_authn(),
            ..EnvoyOptions::default()
        })
        .await;
        platform.declare(&["messaging", "tracking"]).await;
        let mut webhook = declaring(WORKSPACE, "webhook");
        webhook.scope.as_mut().unwrap().presentations = vec![Presentation::Basic.into()];
        let mut management = declaring(WORKSPACE, "management");
        management.scope.as_mut().unwrap().implies = vec!["claviger:routes:write".to_owned()];
        for request in [webhook, management] {
            ok(platform.admin().directory().create_scope(request).await);
        }
        for id in ["gold", "silver"] {
            let request = selling(WORKSPACE, id);
            ok(platform
                .admin()
                .directory()
                .create_subscription(request)
                .await);
        }
        let header = v1::credential_location::Location::Header(HEADER.to_owned());
        let settings = v1::WorkspaceSettings {
            locations: vec![v1::CredentialLocation {
                location: Some(header),
            }],
            key_creation: v1::KeyCreation::Administrators.into(),
            secret_storage: v1::SecretStorage::Recoverable.into(),
            token_prefix: Some(String::new()),
            undemanded_scopes: v1::UndemandedScopes::Deny.into(),
            unmatched_requests: v1::UnmatchedRequests::Deny.into(),
            key_scheme: scheme.into(),
            ..Default::default()
        };
        platform.set(settings, &["settings"]).await;
        let tracking_key = platform.make(bound("crm tracking", &["tracking"])).await;
        Self {
            platform,
            tracking_key,
        }
    }

    /// With both integrations.
    pub(super) async fn with_integrations() -> Self {
        let connxio = Self::start(v1::KeyScheme::On).await;
        connxio.integrate(messaging()).await;
        connxio.integrate(webhook()).await;
        connxio
    }

    pub(super) async fn integrate(&self, route: v1::Route) {
        ok(create(self.platform.admin(), route).await);
    }

    pub(super) async fn key(&self, name: &str, scopes: &[&str]) -> Made {
        self.platform.make(bound(name, scopes)).await
    }

    /// The headers of a message with all it needs beside the key.
    pub(super) fn message<'a>(&'a self, oauth: &'a str) -> [(&'a str, &'a str); 2] {
        [
            ("Authorization", oauth),
            (TRACKING, &self.tracking_key.primary),
        ]
    }

    /// A message with all it needs and this key; the status.
    pub(super) async fn send_message(&self, token: &str) -> u16 {
        let oauth = oauth("messages", ISSUER_KEY);
        let [first, second] = self.message(&oauth);
        let headers = [first, second, (HEADER, token)];
        self.platform.get(MESSAGES, &headers).await.status
    }

    /// A call of a webhook with this key as password; the status.
    pub(super) async fn call_webhook(&self, token: &str) -> u16 {
        let credentials = basic(&format!("orders:{token}"));
        let headers = [("Authorization", &*credentials)];
        self.platform.get(WEBHOOK, &headers).await.status
    }
}

/// A key of the customer.
pub(super) fn bound(name: &str, scopes: &[&str]) -> v1::Key {
    v1::Key {
        subscriptions: vec!["gold".to_owned()],
        display_name: name.to_owned(),
        ..holding(scopes)
    }
}

pub(super) async fn create(
    caller: &Client,
    route: v1::Route,
) -> Result<Response<v1::CreateRouteResponse>, Status> {
    let request = v1::CreateRouteRequest {
        route: Some(v1::Route {
            workspace: WORKSPACE.to_owned(),
            ..route
        }),
        ..Default::default()
    };
    caller.routes().create_route(request).await
}

/// The Messaging endpoint: three factors, the subscription in the path.
pub(super) fn messaging() -> v1::Route {
    let factor = |factor| v1::Factor {
        factor: Some(factor),
    };
    let oauth = v1::factor::Factor::Jwt(v1::JwtFactor {
        claim: "scope".to_owned(),
        values: vec!["messages".to_owned()],
        ..Default::default()
    });
    let tracking = v1::factor::Factor::Header(v1::HeaderFactor {
        name: TRACKING.to_owned(),
        demand: Some(v1::header_factor::Demand::KeyWithScope(
            "tracking".to_owned(),
        )),
        ..Default::default()
    });
    v1::Route {
        id: "messaging".to_owned(),
        path: "/connxio/v1/{subscription}/messages".to_owned(),
        required_scopes: vec!["messaging".to_owned()],
        subscription: Some(v1::SubscriptionSource {
            source: Some(v1::subscription_source::Source::Capture(
                "subscription".to_owned(),
            )),
        }),
        factors: vec![factor(oauth), factor(tracking)],
        ..Default::default()
    }
}

/// The Webhook endpoint: for integrations that only speak HTTP Basic.
pub(super) fn webhook() -> v1::Route {
    let in_basic = v1::credential_location::Location::Basic(true);
    v1::Route {
        id: "webhook".to_owned(),
        path: "/connxio/v1/{subscription}/webhooks/{name}".to_owned(),
        required_scopes: vec!["webhook".to_owned()],
        locations: vec![v1::CredentialLocation {
            location: Some(in_basic),
        }],
        ..Default::default()
    }
}
