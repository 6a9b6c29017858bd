//! The workspace platform ("Channels → API Keys"): a key has a POSTback URL, networks it may come from, and may be Off the
//! Record; it is shown once. The tests follow its document "API Keys" from top to bottom.

use claviger::grpc::proto::v1;
use tonic::Code;

use super::walk::{Platform, WORKSPACE, is_refused};
use crate::api::stage::{creating, named, ok, refused, request_id};
use crate::harness::{Receiver, demands};

/// The platform: its API is below `/api`, a key opens all of it, and every request is logged.
async fn start() -> Platform {
    let platform = Platform::start(vec![demands("/api", &[("workspace", WORKSPACE)])]).await;
    let settings = v1::WorkspaceSettings {
        undemanded_scopes: v1::UndemandedScopes::Allow.into(),
        request_log: v1::RequestLog::All.into(),
        ..Default::default()
    };
    platform.set(settings, &["settings"]).await;
    platform
}

async fn status(platform: &Platform, token: &str) -> u16 {
    platform
        .get("/api/messages", &[("x-api-key", token)])
        .await
        .status
}

/// "These APIs need some authentication. One method of authentication is using an API Key."
#[tokio::test(flavor = "multi_thread")]
async fn all_features_of_the_workspace_are_open_to_its_key_and_to_nobody_else() {
    let platform = start().await;
    let made = platform.make(named("production")).await;
    for path in ["/api/messages", "/api/contacts/42?page=2", "/api"] {
        let bearer = format!("Bearer {}", made.primary);
        for header in [("x-api-key", &*made.primary), ("authorization", &*bearer)] {
            let seen = platform.get(path, &[header]).await.seen();
            assert_eq!(seen.all("x-claviger-key-id"), [&made.id()], "{path}");
        }
        is_refused(&platform.get(path, &[]).await, 401, "no-credential");
    }
    // A key of another workspace opens nothing of this one.
    let request = creating("other", named("theirs"));
    let theirs = platform.stage.make(request).await;
    assert_eq!(status(&platform, &theirs.primary).await, 401);
}

/// "Some endpoints deliver live events via a POST request to a nominated URL. This is that URL. It is most commonly used for
/// message receipts from outbound messages on the messages endpoint."
#[tokio::test(flavor = "multi_thread")]
async fn message_receipts_are_posted_to_the_postback_url_of_the_key_that_sent_the_message() {
    let platform = start().await;
    let secret = v1::CreateSigningSecretRequest::default();
    let secret = ok(platform
        .admin()
        .postbacks()
        .create_signing_secret(secret)
        .await)
    .text;
    platform.remember(&secret);
    let mut receiver = Receiver::start();
    let key = v1::Key {
        postback_url: receiver.url(),
        ..named("production")
    };
    let made = platform.make(key).await;
    assert_eq!(receiver.next().await.kind(), "key.created");
    // The messages endpoint learns from the request whose message it is; when it is read, it says so.
    let headers = [("x-api-key", &*made.primary)];
    let sent = platform
        .send("POST", "/api/messages", &headers, "{\"to\":\"+43…\"}")
        .await
        .seen();
    assert_eq!((sent.method(), sent.body()), ("POST", "{\"to\":\"+43…\"}"));
    let [key_id] = *sent.all("x-claviger-key-id") else {
        panic!("no key")
    };
    let endpoint = platform.caller(&["claviger:postbacks:publish"]).await;
    let receipt = v1::PublishEventRequest {
        key_id: key_id.to_owned(),
        event_id: "message-1-read".to_owned(),
        r#type: "message.read".to_owned(),
        data_json: "{\"message\":1}".to_owned(),
    };
    let endpoint = platform.stage.server.client_with(&endpoint);
    ok(endpoint.postbacks().publish_event(receipt).await);
    let arrived = receiver.next().await;
    assert_eq!(arrived.kind(), "message.read");
    assert_eq!(arrived.json()["data"]["message"], 1);
    assert_eq!(arrived.json()["key_id"], made.id());
    assert!(arrived.is_signed(&secret));
    // The URL is edited, and the next one goes there.
    let mut elsewhere = Receiver::start();
    let key = v1::Key {
        postback_url: elsewhere.url(),
        ..Default::default()
    };
    platform.update(&made.id(), key, &["postback_url"]).await;
    let receipt = v1::PublishEventRequest {
        key_id: made.id(),
        event_id: "message-2-read".to_owned(),
        r#type: "message.read".to_owned(),
        data_json: String::new(),
    };
    ok(endpoint.postbacks().publish_event(receipt).await);
    assert_eq!(elsewhere.next().await.kind(), "message.read");
    assert!(receiver.rest().is_empty());
}

/// "Only requests originating from these IP addresses are permitted. Type in the CIDR […] to add it to the 'Allowed CIDRs' list.
/// Click the 'X' next to a CIDR in this list to remove it."
#[tokio::test(flavor = "multi_thread")]
async fn only_requests_from_the_allowed_cidrs_are_permitted_and_one_is_added_and_removed() {
    let platform = start().await;
    let networks = |list: &[&str]| v1::Key {
        allowed_cidrs: list.iter().map(|cidr| (*cidr).to_owned()).collect(),
        ..Default::default()
    };
    let key = v1::Key {
        display_name: "office".to_owned(),
        ..networks(&["127.0.0.2/32"])
    };
    let made = platform.make(key).await;
    let from = async |address: &str| {
        let headers = [("x-api-key", &*made.primary)];
        let mut connection = platform.connect(address).await;
        connection.send("GET", "/api/messages", &headers, "")
    };
    let permitted = async || {
        let mut permitted = Vec::new();
        for address in ["127.0.0.1", "127.0.0.2", "127.0.1.3"] {
            let response = from(address).await;
            match response.status {
                200 => permitted.push(address),
                _ => is_refused(&response, 403, "address-not-allowed"),
            }
        }
        permitted
    };
    assert_eq!(permitted().await, ["127.0.0.2"]);
    let cidrs = ["allowed_cidrs"];
    let key = platform
        .update(
            &made.id(),
            networks(&["127.0.0.2/32", "127.0.1.0/24"]),
            &cidrs,
        )
        .await;
    assert_eq!(key.allowed_cidrs, ["127.0.0.2/32", "127.0.1.0/24"]);
    assert_eq!(permitted().await, ["127.0.0.2", "127.0.1.3"]);
    platform
        .update(&made.id(), networks(&["127.0.1.0/24"]), &cidrs)
        .await;
    assert_eq!(permitted().await, ["127.0.1.3"]);
}

/// "[It] logs every request made with the API in a database. Enabling 'Off the Record' means that any request made with this API
/// [key] will not be logged."
#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_logged_but_those_with_a_key_that_is_off_the_record() {
    let platform = start().await;
    let on = platform.make(named("on the record")).await;
    let key = v1::Key {
        off_the_record: true,
        allowed_cidrs: vec!["127.0.0.2/32".to_owned()],
        ..named("off the record")
    };
    let off = platform.make(key).await;
    let send = async |token: &str, path: &str, from: &str| {
        let mut connection = platform.connect(from).await;
        connection
            .send("GET", path, &[("x-api-key", token)], "")
            .status
    };
    for n in 0..3 {
        let path = format!("/api/secret/{n}");
        assert_eq!(send(&off.primary, &path, "127.0.0.2").await, 200);
        assert_eq!(send(&off.primary, &path, "127.0.0.1").await, 403);
        let path = format!("/api/messages/{n}");
        assert_eq!(send(&on.primary, &path, "127.0.0.1").await, 200);
    }
    let rows = platform.logged(3).await;
    let mut paths: Vec<_> = rows.iter().map(|row| &*row.path).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["/api/messages/0", "/api/messages/1", "/api/messages/2"]
    );
    assert!(
        rows.iter()
            .all(|row| row.key_id == on.id() && row.method == "GET")
    );
    // Back on the record, the next request is logged, and none of before.
    let key = v1::Key::default();
    platform.update(&off.id(), key, &["off_the_record"]).await;
    assert_eq!(
        send(&off.primary, "/api/messages/3", "127.0.0.2").await,
        200
    );
    assert_eq!(platform.logged(4).await[0].key_id, off.id());
}

/// "Enabled: this enables/disables the functionality of the API Key."
#[tokio::test(flavor = "multi_thread")]
async fn enabled_switches_the_functionality_of_the_key() {
    let platform = start().await;
    let key = v1::Key {
        enabled: Some(false),
        ..named("made for later")
    };
    let made = platform.make(key).await;
    for (enabled, expected) in [(false, 401), (true, 200), (false, 401), (true, 200)] {
        platform.enable(&made.id(), enabled).await;
        assert_eq!(status(&platform, &made.primary).await, expected);
    }
}

/// "This will show you your API Key. […] Once you have confirmed that you have saved the API Key by selecting the checkbox […].
/// You cannot find your API Key ever again once you have closed this menu."
#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_shown_until_it_is_confirmed_as_saved_and_can_not_be_found_ever_again() {
    let platform = start().await;
    let keys = || platform.admin().keys();
    let create = || v1::CreateKeyRequest {
        request_id: request_id(1),
        ..creating("", named("production"))
    };
    let first = ok(keys().create_key(create()).await);
    let token = first.tokens[0].token.clone();
    platform.remember(&token);
    // The menu is open: whoever lost the answer asks again and sees the same.
    let again = ok(keys().create_key(create()).await);
    assert_eq!(again.tokens[0].token, token);
    let id = first.key.unwrap().id;
    // The checkbox, and "Close".
    let saved = v1::AcknowledgeSecretRequest {
        key_id: id.clone(),
        ..Default::default()
    };
    let key = ok(keys().acknowledge_secret(saved).await).key.unwrap();
    assert_eq!(
        key.secrets[0].acknowledge_time,
        Some(platform.stage.server.now())
    );
    let closed = ok(keys().create_key(create()).await);
    assert!(closed.token_withheld && closed.tokens.is_empty());
    let reveal = v1::RevealSecretRequest {
        key_id: id.clone(),
        ..Default::default()
    };
    let answer = keys().reveal_secret(reveal).await;
    refused(answer, Code::FailedPrecondition, "NOT_RECOVERABLE");
    let list = v1::ListKeysRequest {
        view: v1::KeyView::WithTokens.into(),
        ..Default::default()
    };
    assert!(ok(keys().list_keys(list).await).tokens.is_empty());
    let get = v1::GetKeyRequest { id };
    let key = format!("{:?}", ok(keys().get_key(get).await));
    assert!(!key.contains(&token));
    assert_eq!(status(&platform, &token).await, 200);
    // When all has stopped, every file that was written is searched for it.
}

/// "All of your workspace's API Keys will appear here. This overview will display the enabled status of the API Key, then the
/// key's name." "You can search the API Keys by name using the 'Filter' text box."
#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_state_and_name_of_all_keys_and_is_filtered_by_name() {
    let platform = start().await;
    let reader = platform.caller(&["claviger:keys:read"]).await;
    for name in ["Shop-production", "shop-test", "warehouse"] {
        let key = v1::Key {
            enabled: Some(name != "shop-test"),
            ..named(name)
        };
        platform.make(key).await;
    }
    let overview = |args: &[&str]| {
        let said = platform.claviger(&reader, &[&["keys", "list"], args].concat());
        let two = |line: &str| {
            let mut cells = line.split_whitespace().map(str::to_owned);
            (cells.next().unwrap(), cells.next().unwrap())
        };
        said.lines().map(two).collect::<Vec<_>>()
    };
    let pair = |state: &str, name: &str| (state.to_owned(), name.to_owned());
    let header = pair("STATE", "NAME");
    let all = overview(&[]);
    assert_eq!(all[0], header);
    for shown in [
        pair("ACTIVE", "Shop-production"),
        pair("DISABLED", "shop-test"),
        pair("ACTIVE", "warehouse"),
    ] {
        assert!(all.contains(&shown), "{all:?}");
    }
    let mut found = overview(&["--filter", "SHOP"]);
    found[1..].sort();
    assert_eq!(
        found,
        [
            header,
            pair("ACTIVE", "Shop-production"),
            pair("DISABLED", "shop-test")
        ]
    );
}

/// "To edit an API Key and all of its configurations, click the pencil icon."
#[tokio::test(flavor = "multi_thread")]
async fn every_configuration_of_a_key_is_edited_at_once() {
    let platform = start().await;
    let made = platform.make(named("first")).await;
    let edited = v1::Key {
        postback_url: "https://receiver.example/hook".to_owned(),
        allowed_cidrs: vec!["127.0.0.1/32".to_owned()],
        off_the_record: true,
        enabled: Some(false),
        ..named("second")
    };
    let all = [
        "display_name",
        "postback_url",
        "allowed_cidrs",
        "off_the_record",
        "enabled",
    ];
    platform.update(&made.id(), edited.clone(), &all).await;
    let name = v1::KeyFilter {
        name_contains: "second".to_owned(),
        ..Default::default()
    };
    let [ref key] = *platform.list(name).await else {
        panic!("not one key")
    };
    assert_eq!(
        (
            &key.display_name,
            &key.postback_url,
            &key.allowed_cidrs,
            key.off_the_record,
            key.enabled
        ),
        (
            &edited.display_name,
            &edited.postback_url,
            &edited.allowed_cidrs,
            true,
            Some(false)
        )
    );
    assert_eq!(status(&platform, &made.primary).await, 401);
    platform.enable(&made.id(), true).await;
    assert_eq!(
        status(&platform, &made.primary).await,
        200,
        "the key itself is what it was"
    );
}
