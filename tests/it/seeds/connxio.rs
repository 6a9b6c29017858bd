//! Connxio: keys of an integration platform, which only administrators make and which stay readable. Its endpoints demand
//! OAuth and a tracking key beside them, or take HTTP Basic; integrations from before there were keys go on until they are
//! saved. The tests follow its document "Api Keys" from top to bottom.

mod world;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::hygiene_finding::Kind;
use tonic::Code;

use super::walk::{WORKSPACE, is_refused};
use crate::api::stage::{Made, creating, details, holding, invalid, mask, named, ok, refused};
use crate::harness::basic;
use world::{
    Connxio, HEADER, ISSUER_KEY, MESSAGES, TRACKING, WEBHOOK, bound, create, messaging, oauth,
    webhook,
};

fn codes(warnings: &[v1::Warning]) -> Vec<&str> {
    warnings.iter().map(|w| &*w.code).collect()
}

/// "Administrator privileges are required to generate new keys for your company." "A key requires a name as well as a scope on
/// creation."
#[tokio::test(flavor = "multi_thread")]
async fn administrators_create_keys_which_need_a_name_and_a_scope() {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let deputy = platform.caller(&["claviger:keys:write"]).await;
    let deputy = platform.stage.server.client_with(&deputy);
    let request = creating("", bound("crm", &["messaging"]));
    let answer = deputy.keys().create_key(request).await;
    refused(answer, Code::PermissionDenied, "ADMINISTRATORS_ONLY");
    let nameless = creating("", bound("", &["messaging"]));
    let answer = platform.admin().keys().create_key(nameless).await;
    invalid(answer, "key.display_name");
    let undefined = creating("", bound("crm", &["everything"]));
    let answer = platform.admin().keys().create_key(undefined).await;
    invalid(answer, "key.scopes[0]");
    let unscoped = creating("", bound("crm", &[]));
    let answer = platform.admin().keys().create_key(unscoped).await;
    assert_eq!(details(&invalid(answer, "key.scopes")).0, "SCOPE_REQUIRED");
    let key = connxio.key("crm", &["messaging"]).await;
    assert_eq!(connxio.send_message(&key.primary).await, 200);
}

/// "Name […] Key […] Created: the date of creation for this key. Active […] Scopes […] Subscription." "The key is base64 encoded
/// and is available to edit in the list."
#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_of_each_key_its_name_itself_in_base64_its_date_state_scopes_and_subscription()
 {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let made = connxio.key("crm of the warehouse", &["messaging"]).await;
    let shown = async |name: &str| {
        let request = v1::ListKeysRequest {
            filter: Some(v1::KeyFilter {
                name_contains: name.to_owned(),
                ..Default::default()
            }),
            view: v1::KeyView::WithTokens.into(),
            ..Default::default()
        };
        let answer = ok(platform.admin().keys().list_keys(request).await);
        let tokens: Vec<_> = answer.tokens.into_iter().map(|t| t.token).collect();
        (answer.keys, tokens)
    };
    let (keys, tokens) = shown("warehouse").await;
    let [key] = &*keys else { panic!("{keys:#?}") };
    assert_eq!(key.display_name, "crm of the warehouse");
    assert_eq!(tokens, std::slice::from_ref(&made.primary));
    assert_eq!(URL_SAFE_NO_PAD.decode(&tokens[0]).unwrap().len(), 36);
    assert_eq!(key.create_time, Some(platform.stage.server.now()));
    assert_eq!(key.enabled, Some(true), "active on creation");
    assert_eq!(
        (&*key.scopes, &*key.subscriptions),
        (&["messaging".to_owned()][..], &["gold".to_owned()][..])
    );
    // Each look at the keys themselves is on record, and the list can be edited.
    let audit = v1::ListAuditEventsRequest {
        actions: vec!["REVEAL".to_owned()],
        ..Default::default()
    };
    let events = ok(platform.admin().insights().list_audit_events(audit).await).events;
    assert_eq!(events.len(), 1, "{events:#?}");
    platform
        .update(&made.id(), named("crm of the shop"), &["display_name"])
        .await;
    assert!(shown("warehouse").await.0.is_empty());
    assert_eq!(shown("shop").await.1, tokens);
    // On disk it is sealed: when the service has stopped, every file is searched for it.
}

/// "Active: if the active state is changed the key stops working." "By default the key is set to be Active on creation and can
/// be turned off (which will make CX reject all requests containing the key)."
#[tokio::test(flavor = "multi_thread")]
async fn moving_the_slider_rejects_all_requests_that_contain_the_key() {
    let connxio = Connxio::with_integrations().await;
    let made = connxio.key("partner", &["messaging", "webhook"]).await;
    for (active, status) in [(true, 200), (false, 401), (true, 200)] {
        connxio.platform.enable(&made.id(), active).await;
        assert_eq!(connxio.send_message(&made.primary).await, status);
        assert_eq!(connxio.call_webhook(&made.primary).await, status);
    }
    // "… throw away keys that may have been compromised or dole out keys to your partners which can be revoked in the future".
    connxio.platform.delete(made.id()).await;
    assert_eq!(connxio.send_message(&made.primary).await, 401);
}

/// "We recommend only using one scope per key for the best security, but […] using one key for multiple scopes only lessens the
/// security slightly."
#[tokio::test(flavor = "multi_thread")]
async fn several_scopes_on_one_key_are_warned_of_and_work() {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let one = connxio.key("one", &["messaging"]).await;
    assert!(one.key.warnings.is_empty());
    let both = connxio.key("both", &["messaging", "webhook"]).await;
    assert_eq!(codes(&both.key.warnings), ["SEVERAL_SCOPES"]);
    let several = Kind::SeveralScopes;
    let request = v1::GetKeyHygieneRequest {
        findings: vec![several.into()],
        ..Default::default()
    };
    let answer = ok(platform.admin().insights().get_key_hygiene(request).await);
    let found: Vec<_> = answer.keys.iter().flat_map(|k| &k.key).collect();
    assert_eq!(
        found.iter().map(|k| &k.id).collect::<Vec<_>>(),
        [&both.id()]
    );
    assert_eq!(connxio.send_message(&both.primary).await, 200);
    assert_eq!(connxio.call_webhook(&both.primary).await, 200);
    // "… put limitations on what actions are allowed within the key scope".
    assert_eq!(connxio.send_message(&one.primary).await, 200);
    assert_eq!(connxio.call_webhook(&one.primary).await, 403);
}

/// "Using the key is as simple as adding the key value to a header called `Connxio-Api-Key`." "These endpoints also require OAuth
/// and a APIM tracking key."
#[tokio::test(flavor = "multi_thread")]
async fn messaging_takes_oauth_a_tracking_key_and_an_api_key_and_each_that_is_missing_is_refused() {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let made = connxio.key("crm", &["messaging"]).await;
    let token = oauth("read messages", ISSUER_KEY);
    let [oauth_header, tracking] = connxio.message(&token);
    let api_key = (HEADER, &*made.primary);

    let seen = platform
        .get(MESSAGES, &[oauth_header, tracking, api_key])
        .await
        .seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&made.id()]);
    assert_eq!(seen.all("x-claviger-subscription"), ["gold"]);
    // OAuth is the service's business, the keys are not.
    assert_eq!(seen.all("authorization"), [token.as_str()]);
    assert!(seen.all("connxio-api-key").is_empty());
    assert!(seen.all("ocp-apim-subscription-key").is_empty());

    let wrong_scope = oauth("read", ISSUER_KEY);
    let elsewhere = ("Authorization", &*wrong_scope);
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
            &[elsewhere, tracking, api_key],
            401,
            "factor-missing",
        ),
        (
            "the API key as tracking key",
            &[oauth_header, (TRACKING, api_key.1), api_key],
            401,
            "factor-missing",
        ),
        (
            "the tracking key as API key",
            &[oauth_header, tracking, (HEADER, tracking.1)],
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
        let response = platform.get(MESSAGES, headers).await;
        assert_eq!(response.status, status, "{what}: {}", response.text());
        assert!(
            response.text().contains(problem),
            "{what}: {}",
            response.text()
        );
    }
    // Envoy itself refuses a token that its issuer did not sign.
    let forged = oauth("read messages", b"somebody-else-s-key");
    let headers = [("Authorization", &*forged), tracking, api_key];
    let response = platform.get(MESSAGES, &headers).await;
    assert_eq!(response.status, 401);
    assert!(!response.text().contains("claviger"), "{}", response.text());
    // Another customer's path, and one that nobody offers.
    let all = [oauth_header, tracking, api_key];
    let silver = platform.get("/connxio/v1/silver/messages", &all).await;
    is_refused(&silver, 403, "subscription-not-allowed");
    let nowhere = platform.get("/connxio/v1/gold/everything", &all).await;
    is_refused(&nowhere, 403, "route-unknown");
}

/// "The webhook scope is only usable for integrations requiring basic authentication schemes."
#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_for_those_that_only_speak_http_basic() {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let hook = connxio.key("hook", &["webhook"]).await;
    let credentials = basic(&format!("hook:{}", hook.primary));
    let headers = [("Authorization", &*credentials)];
    let seen = platform.get(WEBHOOK, &headers).await.seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&hook.id()]);
    assert!(seen.all("authorization").is_empty());
    let in_header = platform.get(WEBHOOK, &[(HEADER, &hook.primary)]).await;
    is_refused(&in_header, 401, "no-credential");
    // Its key opens nothing else, however it comes.
    assert_eq!(connxio.send_message(&hook.primary).await, 403);
    let messaging = connxio.key("crm", &["messaging"]).await;
    assert_eq!(connxio.call_webhook(&messaging.primary).await, 403);
}

/// "The management scope is used for updating, creating and deleting integrations programmatically and has its own Api for this
/// purpose."
#[tokio::test(flavor = "multi_thread")]
async fn management_creates_updates_and_deletes_integrations_and_does_nothing_else() {
    let connxio = Connxio::start(v1::KeyScheme::On).await;
    let platform = &connxio.platform;
    let client = |made: &Made| platform.stage.server.client_with(&made.primary);
    // Integrations are the workspace's: a key that is limited to a subscription manages none.
    let limited = connxio.key("deployment", &["management"]).await;
    let answer = create(&client(&limited), messaging()).await;
    refused(answer, Code::PermissionDenied, "BOUND_TO_SUBSCRIPTIONS");
    let manager = client(&platform.make(holding(&["management"])).await);
    let crm = connxio.key("crm", &["messaging"]).await;
    let route = ok(create(&manager, messaging()).await).route.unwrap();
    assert_eq!(connxio.send_message(&crm.primary).await, 200);
    let update = v1::UpdateRouteRequest {
        route: Some(v1::Route {
            required_scopes: vec!["webhook".to_owned()],
            ..route
        }),
        update_mask: mask(&["required_scopes"]),
        ..Default::default()
    };
    ok(manager.routes().update_route(update).await);
    assert_eq!(connxio.send_message(&crm.primary).await, 403);
    let delete = v1::DeleteRouteRequest {
        workspace: WORKSPACE.to_owned(),
        id: "messaging".to_owned(),
        ..Default::default()
    };
    ok(manager.routes().delete_route(delete).await);
    assert_eq!(connxio.send_message(&crm.primary).await, 403);
    // It is no administrator's key, and no other scope manages.
    let keys = manager
        .keys()
        .list_keys(v1::ListKeysRequest::default())
        .await;
    refused(keys, Code::PermissionDenied, "MISSING_SCOPE");
    let stranger = create(&client(&crm), webhook()).await;
    refused(stranger, Code::PermissionDenied, "MISSING_SCOPE");
}

/// "The default subscription is the one you are currently logged into." "When a key is generated it's limited to the current
/// logged in subscription by default. If you want to enable it for multiple subscriptions you can do this […]. We recommend only
/// using one subscription per Api key."
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_limited_to_the_subscription_one_is_logged_into_or_to_several_with_a_warning() {
    let connxio = Connxio::with_integrations().await;
    let platform = &connxio.platform;
    let logged_in = platform.admin().saying("x-claviger-subscription", "gold");
    let one = platform.make_as(&logged_in, holding(&["messaging"])).await;
    assert_eq!(one.key.subscriptions, ["gold"]);
    assert!(one.key.warnings.is_empty(), "{:?}", one.key.warnings);
    let several = v1::Key {
        subscriptions: ["gold", "silver"].map(str::to_owned).to_vec(),
        ..holding(&["messaging"])
    };
    let several = platform.make_as(&logged_in, several).await;
    assert_eq!(codes(&several.key.warnings), ["SEVERAL_SUBSCRIPTIONS"]);
    let oauth = oauth("messages", ISSUER_KEY);
    let tracks = v1::Key {
        subscriptions: ["gold", "silver"].map(str::to_owned).to_vec(),
        ..holding(&["tracking"])
    };
    let tracks = platform.make(tracks).await;
    for (token, silver) in [(&one.primary, 403), (&several.primary, 200)] {
        let headers = [
            ("Authorization", &*oauth),
            (TRACKING, &tracks.primary),
            (HEADER, token),
        ];
        for (path, status) in [(MESSAGES, 200), ("/connxio/v1/silver/messages", silver)] {
            assert_eq!(platform.get(path, &headers).await.status, status, "{path}");
        }
    }
}

/// "All previously created integrations will work without a key until they are saved within the new portal after the key scheme
/// has been enabled in CX. A warning will pop up before you save."
#[tokio::test(flavor = "multi_thread")]
async fn an_integration_from_before_works_without_a_key_until_it_is_saved_after_a_warning() {
    let connxio = Connxio::start(v1::KeyScheme::Off).await;
    let platform = &connxio.platform;
    connxio.integrate(messaging()).await;
    let on = v1::WorkspaceSettings {
        key_scheme: v1::KeyScheme::On.into(),
        ..Default::default()
    };
    platform.set(on, &["settings.key_scheme"]).await;
    let made = connxio.key("crm", &["messaging"]).await;
    let token = oauth("messages", ISSUER_KEY);
    let without = connxio.message(&token);
    let [oauth_header, tracking] = without;

    let seen = platform.get(MESSAGES, &without).await.seen();
    assert_eq!(seen.all("authorization"), [token.as_str()]);
    assert!(seen.all("x-claviger-key-id").is_empty());
    assert!(seen.all("x-claviger-subscription").is_empty());
    // Its other factors it always needed; and a key that somebody switched off stays switched off.
    assert_eq!(platform.get(MESSAGES, &[tracking]).await.status, 401);
    assert_eq!(platform.get(MESSAGES, &[oauth_header]).await.status, 401);
    platform.enable(&made.id(), false).await;
    assert_eq!(connxio.send_message(&made.primary).await, 401);
    platform.enable(&made.id(), true).await;

    // An integration that is made now needs one.
    connxio.integrate(webhook()).await;
    is_refused(&platform.get(WEBHOOK, &[]).await, 401, "no-credential");

    let routes = || platform.admin().routes();
    let read = v1::GetRouteRequest {
        workspace: WORKSPACE.to_owned(),
        id: "messaging".to_owned(),
    };
    let route = ok(routes().get_route(read).await).route.unwrap();
    assert_eq!(route.access(), v1::Access::Grandfathered);
    let used = &route.keyless_uses[0];
    assert_eq!((used.reason(), used.count), (v1::Reason::NoCredential, 1));
    let save = |validate_only, acknowledge_warnings| v1::UpdateRouteRequest {
        route: Some(v1::Route {
            display_name: "Messaging".to_owned(),
            ..route.clone()
        }),
        validate_only,
        acknowledge_warnings,
        ..Default::default()
    };
    let shown = ok(routes().update_route(save(true, false)).await);
    assert_eq!(shown.warnings.len(), 1, "{:?}", shown.warnings);
    let warned = routes().update_route(save(false, false)).await;
    let warned = refused(warned, Code::FailedPrecondition, "WARNING_NOT_ACKNOWLEDGED");
    assert!(warned.message().contains("need an API key"), "{warned:?}");
    assert_eq!(platform.get(MESSAGES, &without).await.status, 200);
    ok(routes().update_route(save(false, true)).await);
    is_refused(
        &platform.get(MESSAGES, &without).await,
        401,
        "no-credential",
    );
    assert_eq!(connxio.send_message(&made.primary).await, 200);
}
