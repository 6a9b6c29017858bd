//! Maximo Manage: keys for machines, in a header or a query parameter; hashed or sealed as a property says; made outside, too.
//! What a key may is what its user may, who is synchronised first. The tests follow its document "API keys" from top to
//! bottom.

use std::process::Command;

use claviger::grpc::proto::v1::{self, KeyCreation, Presentation, Reason};
use serde_json::{Value, json};
use tonic::Code;

use super::walk::{Platform, WORKSPACE, is_refused};
use crate::api::stage::{
    asking, bound_to, creating, details, external, foreign_token, holding, invalid, named, ok,
    refused, routing,
};
use crate::harness::{basic, demands, tool};

const ASSETS: &str = "/maximo/oslc/os/mxapiasset";
const USER: &str = "MAXADMIN";

/// The Manage system: what is below `/maximo` takes the key in `apikey`, in the header or in the query.
async fn start() -> Platform {
    let demand =
        |path: &str, scope: &str| demands(path, &[("workspace", WORKSPACE), ("scopes", scope)]);
    let platform = Platform::start(vec![
        demand("/maximo/oslc/os/mxapiwo", "workorders:write"),
        demands("/maximo/session", &[("workspace", WORKSPACE)]),
        demand("/maximo", "assets:read"),
    ])
    .await;
    platform.declare(&["assets:read", "workorders:write"]).await;
    use v1::credential_location::Location;
    let places = [
        Location::Header("apikey".to_owned()),
        Location::Query("apikey".to_owned()),
    ];
    let settings = v1::WorkspaceSettings {
        locations: places
            .map(|place| v1::CredentialLocation {
                location: Some(place),
            })
            .into(),
        presentations: [Presentation::Header, Presentation::Query]
            .map(i32::from)
            .into(),
        ..Default::default()
    };
    platform.set(settings, &["settings"]).await;
    platform
}

/// The users as they are in Manage, brought here with the command line.
async fn synchronise(platform: &Platform, users: &[(&str, &str)]) {
    let mut table = "id,scopes\n".to_owned();
    for (id, scopes) in users {
        table.push_str(&format!("{id},{scopes}\n"));
    }
    platform.file("users.csv", &table);
    let administrator = platform.caller(&["claviger:*"]).await;
    let said = platform.claviger(
        &administrator,
        &["principals", "sync", "users.csv", "-o", "json"],
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["refused"], 0, "{said}");
}

/// The system with one user, who may read assets.
async fn with_user() -> Platform {
    let platform = start().await;
    synchronise(&platform, &[(USER, "assets:read")]).await;
    platform
}

async fn status(platform: &Platform, token: &str) -> u16 {
    platform.get(ASSETS, &[("apikey", token)]).await.status
}

/// "API keys can be used by the OSLC and REST APIs and also can be used as part of the Manage integration framework." "The
/// external client can access and interact with data […] by using the API key as an apikey query parameter or an apikey request
/// header in REST API calls."
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_uses_its_key_as_a_query_parameter_or_as_a_header() {
    let platform = with_user().await;
    let made = platform.make(bound_to(USER, &[])).await;
    let token = &*made.primary;
    for path in [
        ASSETS,
        "/maximo/rest/mbo/asset",
        "/maximo/api/os/mxapiasset",
    ] {
        let seen = platform.get(path, &[("apikey", token)]).await.seen();
        assert_eq!(seen.all("x-claviger-principal"), [USER]);
        assert!(seen.all("apikey").is_empty());
        let asked = format!("{path}?lean=1&apikey={token}&oslc.select=*");
        let seen = platform.get(&asked, &[]).await.seen();
        assert_eq!(seen.all("x-claviger-key-id"), [&made.id()]);
        assert!(!seen.path().contains(token), "the key goes no further");
        assert!(seen.path().contains("lean=1"), "{}", seen.path());
    }
    // In no other place, and not in two of them.
    let bearer = format!("Bearer {token}");
    for header in [("x-api-key", token), ("authorization", &*bearer)] {
        is_refused(&platform.get(ASSETS, &[header]).await, 401, "no-credential");
    }
    let twice = format!("{ASSETS}?apikey={token}");
    let other = platform.make(bound_to(USER, &[])).await;
    let twice = platform.get(&twice, &[("apikey", &other.primary)]).await;
    is_refused(&twice, 400, "ambiguous-credential");
    // When Envoy has stopped, what it wrote is searched for the keys in the queries.
}

/// "REST API calls that use an API key do not create a persistent server connection, and the API key must be part of all REST API
/// requests that the external client makes."
#[tokio::test(flavor = "multi_thread")]
async fn every_request_carries_the_key_also_on_a_connection_that_carried_it_before() {
    let platform = with_user().await;
    let made = platform.make(bound_to(USER, &[])).await;
    let mut connection = platform.connect("127.0.0.1").await;
    let with = [("apikey", &*made.primary)];
    for _ in 0..2 {
        let first = connection.send("GET", ASSETS, &with, "");
        assert_eq!(first.status, 200, "{}", first.text());
        assert!(first.all("set-cookie").is_empty(), "there is no session");
        let second = connection.send("GET", ASSETS, &[], "");
        is_refused(&second, 401, "no-credential");
    }
    // Nor does a connection keep what the key was once worth.
    platform.delete(made.id()).await;
    assert_eq!(connection.send("GET", ASSETS, &with, "").status, 401);
}

fn storage(storage: v1::SecretStorage, acknowledge_warnings: bool) -> v1::UpdateWorkspaceRequest {
    v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: WORKSPACE.to_owned(),
            settings: Some(v1::WorkspaceSettings {
                secret_storage: storage.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: crate::api::stage::mask(&["settings.secret_storage"]),
        acknowledge_warnings,
        ..Default::default()
    }
}

/// What an administrator can read of the keys' tokens.
async fn readable(platform: &Platform) -> Vec<String> {
    let request = v1::ListKeysRequest {
        view: v1::KeyView::WithTokens.into(),
        ..Default::default()
    };
    let answer = ok(platform.admin().keys().list_keys(request).await);
    answer.tokens.into_iter().map(|t| t.token).collect()
}

/// "By default, all API keys are encrypted at storage."
#[tokio::test(flavor = "multi_thread")]
async fn by_default_no_key_can_be_read_from_storage_not_even_by_an_administrator() {
    let platform = with_user().await;
    let generated = platform.make(bound_to(USER, &[])).await;
    let request = v1::CreateKeyRequest {
        primary: external(&foreign_token(1)),
        ..creating(WORKSPACE, bound_to(USER, &[]))
    };
    let handed_in = platform.stage.make(request).await;
    for made in [&generated, &handed_in] {
        let request = v1::RevealSecretRequest {
            key_id: made.id(),
            ..Default::default()
        };
        let answer = platform.admin().keys().reveal_secret(request).await;
        refused(answer, Code::FailedPrecondition, "NOT_RECOVERABLE");
    }
    let before = platform.stage.revision().await;
    assert!(readable(&platform).await.is_empty());
    let after = platform.stage.revision().await;
    assert_eq!(after, before, "nothing was shown, so nothing is audited");
    // When the service has stopped, every file it wrote is searched for both tokens.
}

/// "This setting is controlled by the mxe.secureapikey property."
#[tokio::test(flavor = "multi_thread")]
async fn the_property_of_storage_applies_live_and_switched_back_says_what_is_lost_for_good() {
    let platform = with_user().await;
    let update = async |request| platform.admin().directory().update_workspace(request).await;
    ok(update(storage(v1::SecretStorage::Recoverable, false)).await);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(platform.make(bound_to(USER, &[])).await);
    }
    assert_eq!(readable(&platform).await.len(), 3);
    let warning = update(storage(v1::SecretStorage::Hashed, false)).await;
    let warning = refused(
        warning,
        Code::FailedPrecondition,
        "WARNING_NOT_ACKNOWLEDGED",
    );
    assert!(warning.message().contains("3 tokens"), "{warning:?}");
    assert_eq!(readable(&platform).await.len(), 3);
    ok(update(storage(v1::SecretStorage::Hashed, true)).await);
    assert!(readable(&platform).await.is_empty());
    ok(update(storage(v1::SecretStorage::Recoverable, false)).await);
    assert!(readable(&platform).await.is_empty(), "they are gone");
    for made in &made {
        assert_eq!(status(&platform, &made.primary).await, 200);
    }
}

/// `grpcurl`, as an external system and who reads the documentation have it: JSON, and no proto files.
fn grpcurl(platform: &Platform, token: &str, before: &[&str], after: &[&str]) -> String {
    let output = Command::new(tool("grpcurl"))
        .args(["-connect-timeout", "60"])
        .args([
            "-plaintext",
            "-H",
            &format!("authorization: Bearer {token}"),
        ])
        .args(before)
        .arg(platform.stage.server.address().to_string())
        .args(after)
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    String::from_utf8(output.stdout).unwrap()
}

/// "From the Action menu, select API documentation. Select Authorize to use your API key."
#[tokio::test(flavor = "multi_thread")]
async fn the_api_documents_itself_and_is_tried_with_ones_key() {
    let platform = with_user().await;
    let reader = platform.caller(&["claviger:keys:read"]).await;
    let create = "claviger.v1.KeyAdmin.CreateKey";
    let documented = grpcurl(&platform, &reader, &[], &["describe", create]);
    assert!(documented.contains("CreateKeyRequest"), "{documented}");
    let list = "claviger.v1.KeyAdmin/ListKeys";
    let listed = grpcurl(&platform, &reader, &["-d", "{}"], &[list]);
    assert!(listed.contains("\"keys\""), "{listed}");
}

/// "You can use an external system to create the API key and provide the API key value to the integration framework. Create this
/// type of API key by using the MXAPIAPIKEY REST API and providing your generated API key by using the "apikey" json property."
#[tokio::test(flavor = "multi_thread")]
async fn an_external_system_generates_the_key_and_hands_it_in() {
    let platform = with_user().await;
    let system = platform.caller(&["claviger:keys:write"]).await;
    let generated = foreign_token(7);
    platform.remember(&generated);
    let request = json!({
        "key": { "displayName": "from outside", "principal": USER },
        "primary": { "externalToken": { "token": generated } },
    });
    let create = "claviger.v1.KeyAdmin/CreateKey";
    let said = grpcurl(&platform, &system, &["-d", &request.to_string()], &[create]);
    assert!(!said.contains(&generated), "whoever handed it in has it");
    let seen = platform.get(ASSETS, &[("apikey", &generated)]).await.seen();
    assert_eq!(seen.all("x-claviger-principal"), [USER]);
    // One that is easily guessed is none.
    let weak = v1::CreateKeyRequest {
        primary: external("password-password"),
        ..creating(WORKSPACE, bound_to(USER, &[]))
    };
    let answer = platform.admin().keys().create_key(weak).await;
    invalid(answer, "primary.external_token.token");
}

/// "As the system administrator, you must synchronize Manage users for the external clients before API keys are created for those
/// clients."
#[tokio::test(flavor = "multi_thread")]
async fn users_are_synchronised_before_api_keys_are_created_for_them() {
    let platform = start().await;
    let request = || creating(WORKSPACE, bound_to(USER, &[]));
    let answer = platform.admin().keys().create_key(request()).await;
    let status = invalid(answer, "key.principal");
    assert!(status.message().contains("synchronise"), "{status:?}");
    synchronise(&platform, &[(USER, "assets:read")]).await;
    platform.make(bound_to(USER, &[])).await;
}

/// "The permissions that are associated with the API key are determined by the permissions for the associated user."
#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_of_a_key_are_those_of_its_user() {
    let platform = with_user().await;
    let made = platform.make(bound_to(USER, &[])).await;
    let key = [("apikey", &*made.primary)];
    for (scopes, read, write) in [
        ("assets:read", 200, 403),
        ("assets:read;workorders:write", 200, 200),
        ("workorders:write", 403, 200),
        ("", 403, 403),
    ] {
        synchronise(&platform, &[(USER, scopes)]).await;
        for (path, expected) in [(ASSETS, read), ("/maximo/oslc/os/mxapiwo", write)] {
            let response = platform.get(path, &key).await;
            assert_eq!(response.status, expected, "{scopes} {path}");
        }
    }
}

/// "You also can specify security that enables only the logged-in user to create an API key. […] In the Global Value field,
/// specify 1 and save the record. Select Live Refresh to apply the value immediately."
#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_who_is_logged_in_creates_a_key_where_the_property_says_so_and_at_once() {
    let platform = start().await;
    let may = "assets:read;claviger:keys:self";
    synchronise(&platform, &[("WILSON", may), ("SMITH", may)]).await;
    let portal = platform.caller(&["claviger:on-behalf"]).await;
    let portal = platform.stage.server.client_with(&portal);
    let wilson = portal.saying("x-claviger-principal", "WILSON");
    platform.make(bound_to("WILSON", &[])).await;
    let property = async |value: KeyCreation| {
        let settings = v1::WorkspaceSettings {
            key_creation: value.into(),
            ..Default::default()
        };
        platform.set(settings, &["settings.key_creation"]).await;
    };
    property(KeyCreation::SelfOnly).await;
    for client in [platform.admin(), &platform.stage.system] {
        let request = creating(WORKSPACE, bound_to("WILSON", &["assets:read"]));
        let answer = client.keys().create_key(request).await;
        refused(answer, Code::PermissionDenied, "SELF_ONLY");
    }
    let for_smith = creating("", bound_to("SMITH", &[]));
    let for_smith = wilson.keys().create_key(for_smith).await;
    assert_eq!(details(&for_smith.unwrap_err()).0, "ESCALATION");
    let own = platform.make_as(&wilson, named("my key")).await;
    assert_eq!(own.key.principal, "WILSON");
    assert_eq!(status(&platform, &own.primary).await, 200);
    property(KeyCreation::KeysWrite).await;
    platform.make(bound_to("SMITH", &[])).await;
}

/// "To disable access to the Manage system for an external client, you can delete the associated API key, but the external client
/// might still access the Manage system by using another configured authentication system."
#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_key_ends_what_it_opened_and_no_other_authentication() {
    let platform = with_user().await;
    // Where Manage itself authenticates: its own sign-on, in front of which no key is demanded.
    let mut session = routing(WORKSPACE, "session", "/maximo/session/{rest=**}");
    let route = session.route.as_mut().unwrap();
    route.access = v1::Access::Public.into();
    route.required_scopes.clear();
    ok(platform.admin().routes().create_route(session).await);
    let (lost, other) = (
        platform.make(bound_to(USER, &[])).await,
        platform.make(bound_to(USER, &[])).await,
    );
    let password = basic("maxadmin:the password in Manage");
    let sign_on = async || {
        let headers = [("authorization", &*password)];
        let seen = platform.get("/maximo/session/login", &headers).await.seen();
        assert_eq!(seen.all("authorization"), [&*password]);
    };
    sign_on().await;
    platform.delete(lost.id()).await;
    assert_eq!(status(&platform, &lost.primary).await, 401);
    assert_eq!(status(&platform, &other.primary).await, 200);
    sign_on().await;
}

/// "If an API key is compromised, delete the key and create another key for that user."
#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_key_is_deleted_and_the_user_gets_another() {
    let platform = with_user().await;
    let lost = platform.make(bound_to(USER, &[])).await;
    platform.delete(lost.id()).await;
    let another = platform.make(bound_to(USER, &[])).await;
    assert_eq!(status(&platform, &lost.primary).await, 401);
    assert_eq!(status(&platform, &another.primary).await, 200);
    let answer = platform
        .stage
        .check(asking(WORKSPACE, &lost.primary, &[]))
        .await;
    assert_eq!(answer.reason(), Reason::KeyDeleted);
    // It does not come back by the side door either.
    let request = v1::CreateKeyRequest {
        primary: external(&lost.primary),
        ..creating(WORKSPACE, holding(&[]))
    };
    let answer = platform.admin().keys().create_key(request).await;
    refused(answer, Code::FailedPrecondition, "TOKEN_KNOWN_DEAD");
}
