//! An integration platform's endpoints as its customers use them: Messaging takes OAuth, a tracking key and an API key in a
//! header of its own; Webhook takes HTTP Basic; integrations from before there were keys go on until they are saved.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::{Key, Presentation};
use hmac::{Hmac, KeyInit as _, Mac as _};

use super::allowed::basic;
use crate::harness::{EnvoyOptions, Made, Response, Rig, RigOptions, demands, header, key};

/// Who issues the OAuth tokens here signs them with this.
const ISSUER_KEY: &[u8] = b"what-only-the-issuer-of-tokens-knows";
const WORKSPACE: &str = "connxio";

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
fn oauth(scope: &str, signing_key: &[u8]) -> String {
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

struct Platform {
    rig: Rig,
    api_key: Made,
    tracking_key: Made,
}

impl Platform {
    fn start() -> Self {
        let mut rig = Rig::start(&RigOptions {
            envoy: EnvoyOptions {
                routes: vec![demands("/connxio", &[("workspace", WORKSPACE)])],
                filters: jwt_authn(),
                ..EnvoyOptions::default()
            },
            ..RigOptions::default()
        });
        rig.admin.workspace(WORKSPACE, &["messaging", "tracking"]);
        for subscription in ["gold", "silver"] {
            rig.admin.subscription(WORKSPACE, subscription);
        }
        let webhook = v1::Scope {
            workspace: WORKSPACE.to_owned(),
            name: "webhook".to_owned(),
            presentations: vec![Presentation::Basic.into()],
            ..Default::default()
        };
        rig.admin
            .create_scope(v1::CreateScopeRequest {
                scope: Some(webhook),
                ..Default::default()
            })
            .unwrap();
        configure(&mut rig, v1::KeyScheme::Off);
        let bound = |name: &str, scope: &str| Key {
            subscriptions: vec!["gold".to_owned()],
            ..key(name, &[scope])
        };
        let api_key = rig.admin.make(WORKSPACE, bound("crm", "messaging"));
        let tracking_key = rig.admin.make(WORKSPACE, bound("crm tracking", "tracking"));
        Self {
            rig,
            api_key,
            tracking_key,
        }
    }

    /// Makes a route, as it was when there were no keys or as it is now.
    fn route(&self, route: v1::Route) {
        let request = v1::CreateRouteRequest {
            route: Some(v1::Route {
                workspace: WORKSPACE.to_owned(),
                ..route
            }),
            ..Default::default()
        };
        self.rig.admin.create_route(request).unwrap();
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| header(name, value))
            .collect();
        self.rig.get(path, &headers)
    }
}

/// Switches the key scheme, and has keys in a header of their own.
fn configure(rig: &mut Rig, scheme: v1::KeyScheme) {
    let own = v1::credential_location::Location::Header("Connxio-Api-Key".to_owned());
    let settings = v1::WorkspaceSettings {
        locations: vec![v1::CredentialLocation {
            location: Some(own),
        }],
        key_scheme: scheme.into(),
        unmatched_requests: v1::UnmatchedRequests::Deny.into(),
        ..Default::default()
    };
    let workspace = v1::Workspace {
        id: WORKSPACE.to_owned(),
        settings: Some(settings),
        ..Default::default()
    };
    rig.admin
        .update_workspace(v1::UpdateWorkspaceRequest {
            workspace: Some(workspace),
            ..Default::default()
        })
        .unwrap();
}

/// The Messaging endpoint: three factors, the subscription in the path.
fn messaging() -> v1::Route {
    let factor = |factor| v1::Factor {
        factor: Some(factor),
    };
    let oauth = v1::factor::Factor::Jwt(v1::JwtFactor {
        claim: "scope".to_owned(),
        values: vec!["messages".to_owned()],
        ..Default::default()
    });
    let tracking = v1::factor::Factor::Header(v1::HeaderFactor {
        name: "Ocp-Apim-Subscription-Key".to_owned(),
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

const MESSAGES: &str = "/connxio/v1/gold/messages";

#[test]
fn messaging_takes_oauth_a_tracking_key_and_an_api_key_and_each_that_is_missing_is_refused() {
    let mut platform = Platform::start();
    configure(&mut platform.rig, v1::KeyScheme::On);
    platform.route(messaging());
    let token = oauth("read messages", ISSUER_KEY);
    let oauth_header = ("Authorization", token.as_str());
    let tracking = (
        "Ocp-Apim-Subscription-Key",
        platform.tracking_key.token.as_str(),
    );
    let api_key = ("Connxio-Api-Key", platform.api_key.token.as_str());

    let seen = platform
        .get(MESSAGES, &[oauth_header, tracking, api_key])
        .seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&platform.api_key.id]);
    assert_eq!(seen.all("x-claviger-subscription"), ["gold"]);
    // OAuth is the service's business, the keys are not.
    assert_eq!(seen.all("authorization"), [token.as_str()]);
    assert!(seen.all("connxio-api-key").is_empty());
    assert!(seen.all("ocp-apim-subscription-key").is_empty());

    let wrong_scope = oauth("read", ISSUER_KEY);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let cases: [Case<'_>; 7] = [
        ("no OAuth", &[tracking, api_key], 401, "factor-missing"),
        (
            "no tracking key",
            &[oauth_header, api_key],
            401,
            "factor-missing",
        ),
        (
            "no API key",
            &[oauth_header, tracking],
            401,
            "no-credential",
        ),
        (
            "OAuth for something else",
            &[("Authorization", &wrong_scope), tracking, api_key],
            401,
            "factor-missing",
        ),
        (
            "the API key as tracking key",
            &[
                oauth_header,
                ("Ocp-Apim-Subscription-Key", api_key.1),
                api_key,
            ],
            401,
            "factor-missing",
        ),
        (
            "the tracking key as API key",
            &[oauth_header, tracking, ("Connxio-Api-Key", tracking.1)],
            403,
            "insufficient-scope",
        ),
        (
            "the API key in another place",
            &[oauth_header, tracking, ("x-api-key", api_key.1)],
            401,
            "no-credential",
        ),
    ];
    for (what, headers, status, problem) in cases {
        let response = platform.get(MESSAGES, headers);
        assert_eq!(response.status, status, "{what}: {}", response.text());
        assert!(
            response.text().contains(problem),
            "{what}: {}",
            response.text()
        );
    }
    // Envoy itself refuses a token that its issuer did not sign.
    let forged = oauth("read messages", b"somebody-else-s-key");
    let response = platform.get(MESSAGES, &[("Authorization", &forged), tracking, api_key]);
    assert_eq!(response.status, 401);
    assert!(!response.text().contains("claviger"), "{}", response.text());
    // Another customer's path, and one that nobody offers.
    let all = [oauth_header, tracking, api_key];
    assert_eq!(
        platform.get("/connxio/v1/silver/messages", &all).status,
        403
    );
    let nowhere = platform.get("/connxio/v1/gold/everything", &all);
    assert!(nowhere.status == 403 && nowhere.text().contains("route-unknown"));
}

#[test]
fn webhook_is_for_those_that_only_speak_http_basic() {
    let mut platform = Platform::start();
    configure(&mut platform.rig, v1::KeyScheme::On);
    platform.route(messaging());
    let in_basic = v1::credential_location::Location::Basic(true);
    platform.route(v1::Route {
        id: "webhook".to_owned(),
        path: "/connxio/v1/{subscription}/webhooks/{name}".to_owned(),
        required_scopes: vec!["webhook".to_owned()],
        locations: vec![v1::CredentialLocation {
            location: Some(in_basic),
        }],
        ..Default::default()
    });
    let hook = platform
        .rig
        .admin
        .make(WORKSPACE, key("hook", &["webhook"]));
    let path = "/connxio/v1/gold/webhooks/orders";
    let credentials = basic(&format!("hook:{}", hook.token));
    let seen = platform
        .get(path, &[("Authorization", &credentials)])
        .seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&hook.id]);
    assert!(seen.all("authorization").is_empty());
    let in_header = platform.get(path, &[("Connxio-Api-Key", &hook.token)]);
    assert_eq!(in_header.status, 401);
    assert!(in_header.text().contains("no-credential"));
    // Its key opens nothing else, however it comes.
    let messages = platform.get(MESSAGES, &[("Connxio-Api-Key", &hook.token)]);
    assert_eq!(messages.status, 403);
    let messaging = basic(&format!("crm:{}", platform.api_key.token));
    let refused = platform.get(path, &[("Authorization", &messaging)]);
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[test]
fn an_integration_from_before_works_without_a_key_until_it_is_saved() {
    let mut platform = Platform::start();
    platform.route(messaging());
    configure(&mut platform.rig, v1::KeyScheme::On);
    let token = oauth("messages", ISSUER_KEY);
    let oauth_header = ("Authorization", token.as_str());
    let tracking = (
        "Ocp-Apim-Subscription-Key",
        platform.tracking_key.token.as_str(),
    );
    let without = [oauth_header, tracking];

    let seen = platform.get(MESSAGES, &without).seen();
    assert_eq!(seen.all("authorization"), [token.as_str()]);
    assert!(seen.all("x-claviger-key-id").is_empty());
    assert!(seen.all("x-claviger-subscription").is_empty());
    // Its other factors it always needed.
    assert_eq!(platform.get(MESSAGES, &[tracking]).status, 401);
    assert_eq!(platform.get(MESSAGES, &[oauth_header]).status, 401);
    // A key that somebody switched off stays switched off.
    let api_key = ("Connxio-Api-Key", platform.api_key.token.clone());
    platform
        .rig
        .admin
        .enable(&platform.api_key.id, false)
        .unwrap();
    let dead = [oauth_header, tracking, (api_key.0, &*api_key.1)];
    assert_eq!(platform.get(MESSAGES, &dead).status, 401);
    platform
        .rig
        .admin
        .enable(&platform.api_key.id, true)
        .unwrap();

    let admin = &platform.rig.admin;
    let read = v1::GetRouteRequest {
        workspace: WORKSPACE.to_owned(),
        id: "messaging".to_owned(),
    };
    let route = admin.get_route(read).unwrap().route.unwrap();
    assert_eq!(route.access(), v1::Access::Grandfathered);
    let used = &route.keyless_uses[0];
    assert_eq!((used.reason(), used.count), (v1::Reason::NoCredential, 1));
    let save = |acknowledge_warnings| v1::UpdateRouteRequest {
        route: Some(v1::Route {
            display_name: "Messaging".to_owned(),
            ..route.clone()
        }),
        acknowledge_warnings,
        ..Default::default()
    };
    let warned = admin.update_route(save(false)).unwrap_err();
    assert!(warned.message().contains("need an API key"), "{warned:?}");
    assert_eq!(platform.get(MESSAGES, &without).status, 200);
    admin.update_route(save(true)).unwrap();
    let refused = platform.get(MESSAGES, &without);
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("no-credential"));
    let seen = platform.get(MESSAGES, &dead).seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&platform.api_key.id]);
}
