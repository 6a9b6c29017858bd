//! Who makes keys: those who write keys, only administrators, or everybody their own; portals, which call for who is logged
//! in.

use claviger::grpc::proto::v1::{self, KeyCreation, Reason};
use tonic::{Code, Response, Status};

use super::escalation::{escalation, set};
use super::stage::{
    Made, Stage, asking, bound_to, creating, external, foreign_token, generated, holding, invalid,
    knowing, mask, named, ok, refused, request_id,
};
use crate::harness::server::Client;

const SELF: &str = "claviger:keys:self";
const PRINCIPAL: &str = "x-claviger-principal";
const SUBSCRIPTION: &str = "x-claviger-subscription";

/// `joe` and `ann` of `acme` may read orders and manage their own keys; a portal calls for them.
async fn with_portal() -> (Stage, Client) {
    let stage = Stage::set().await;
    for id in ["joe", "ann"] {
        let request = knowing("acme", id, &["orders:read", SELF]);
        ok(stage.system.directory().upsert_principal(request).await);
    }
    let portal = stage.caller("acme", &["claviger:on-behalf"]).await;
    (stage, portal)
}

async fn who_makes_keys(stage: &Stage, who: KeyCreation) {
    let request = v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(v1::WorkspaceSettings {
                key_creation: who.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: mask(&["settings.key_creation"]),
        ..Default::default()
    };
    ok(stage.system.directory().update_workspace(request).await);
}

async fn make(client: &Client, key: v1::Key) -> Result<Response<v1::CreateKeyResponse>, Status> {
    client.keys().create_key(creating("", key)).await
}

/// A key that somebody made, whose token nothing on disk may hold.
fn made(stage: &Stage, answer: Result<Response<v1::CreateKeyResponse>, Status>) -> Made {
    let made = Made::from(ok(answer));
    stage.server.remember(&made.primary);
    made
}

fn regenerating(id: String) -> v1::RegenerateSecretRequest {
    v1::RegenerateSecretRequest {
        key_id: id,
        ..Default::default()
    }
}

#[track_caller]
fn not_theirs<T: std::fmt::Debug>(result: Result<Response<T>, Status>) {
    refused(result, Code::NotFound, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portals_user_makes_and_manages_their_own_keys_and_sees_no_others() {
    let (stage, portal) = with_portal().await;
    let joe = portal.saying(PRINCIPAL, "joe");
    let ann = portal.saying(PRINCIPAL, "ann");
    // Bound to who is logged in without saying so; it opens what that one may.
    let of_joe = made(&stage, make(&joe, named("laptop")).await);
    assert_eq!(of_joe.key.principal, "joe");
    let check = asking("acme", &of_joe.primary, &["orders:read"]);
    assert_eq!(stage.check(check).await.reason(), Reason::Ok);
    let of_ann = made(&stage, make(&ann, bound_to("ann", &["orders:read"])).await);
    let of_nobody = stage.key(&["orders:read"]).await;

    let listed = ok(joe.keys().list_keys(v1::ListKeysRequest::default()).await).keys;
    assert_eq!(
        listed.iter().map(|k| &*k.id).collect::<Vec<_>>(),
        [of_joe.id()]
    );
    let get = |id| v1::GetKeyRequest { id };
    ok(joe.keys().get_key(get(of_joe.id())).await);
    for other in [&of_ann, &of_nobody] {
        let id = || other.id();
        not_theirs(joe.keys().get_key(get(id())).await);
        not_theirs(
            joe.keys()
                .update_key(set(&id(), named("mine"), "display_name"))
                .await,
        );
        not_theirs(joe.keys().regenerate_secret(regenerating(id())).await);
        let delete = v1::DeleteKeyRequest {
            id: id(),
            ..Default::default()
        };
        not_theirs(joe.keys().delete_key(delete).await);
        let lookup = v1::LookupKeyRequest {
            token: other.primary.clone(),
            ..Default::default()
        };
        not_theirs(joe.keys().lookup_key(lookup).await);
    }
    // For others, or away from oneself, nothing is made.
    escalation(make(&joe, bound_to("ann", &[])).await);
    for principal in ["ann", ""] {
        let bind = v1::UpdateKeyRequest {
            update_mask: mask(&["principal", "scope_source"]),
            ..set(&of_joe.id(), bound_to(principal, &[]), "principal")
        };
        escalation(joe.keys().update_key(bind).await);
    }
    let renamed = set(&of_joe.id(), named("the laptop"), "display_name");
    ok(joe.keys().update_key(renamed).await);
    let answer = ok(joe
        .keys()
        .regenerate_secret(regenerating(of_joe.id()))
        .await);
    let token = answer.tokens[0].token.clone();
    stage.server.remember(&token);
    let acknowledge = v1::AcknowledgeSecretRequest {
        key_id: of_joe.id(),
        ..Default::default()
    };
    ok(joe.keys().acknowledge_secret(acknowledge).await);
    assert_eq!(stage.reason(&token).await, Reason::Ok);
    let delete = v1::DeleteKeyRequest {
        id: of_joe.id(),
        ..Default::default()
    };
    ok(joe.keys().delete_key(delete).await);
    assert_eq!(stage.reason(&token).await, Reason::KeyDeleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_behalf_a_portal_has_no_right_but_its_users_own() {
    let (stage, _) = with_portal().await;
    let mighty = [
        "claviger:on-behalf",
        "claviger:keys:write",
        "claviger:directory:write",
    ];
    let portal = stage.caller("acme", &mighty).await;
    let joe = portal.saying(PRINCIPAL, "joe");
    let missing = (Code::PermissionDenied, "MISSING_SCOPE");
    let upsert = knowing("acme", "joe", &["orders:write"]);
    refused(
        joe.directory().upsert_principal(upsert).await,
        missing.0,
        missing.1,
    );
    // A user's own mightier rights are none of the portal's: no key that has them is made through it.
    let boss = knowing("acme", "boss", &["claviger:*", "orders:read"]);
    ok(stage.system.directory().upsert_principal(boss).await);
    let boss = portal.saying(PRINCIPAL, "boss");
    escalation(make(&boss, named("all")).await);
    made(&stage, make(&boss, holding(&["orders:read"])).await);
    // Who may not manage their own keys does not do it here.
    let mute = knowing("acme", "mute", &["orders:read"]);
    ok(stage.system.directory().upsert_principal(mute).await);
    let mute = portal.saying(PRINCIPAL, "mute");
    let status = refused(make(&mute, named("mine")).await, missing.0, missing.1);
    assert!(status.message().contains(SELF), "{}", status.message());
    // An implied right is one.
    let mut scope = super::stage::declaring("acme", "portal");
    scope.scope.as_mut().unwrap().implies = vec![SELF.to_owned()];
    ok(stage.system.directory().create_scope(scope).await);
    let grant = knowing("acme", "mute", &["portal"]);
    ok(stage.system.directory().upsert_principal(grant).await);
    made(&stage, make(&mute, named("mine")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_act_on_behalf_does_and_only_of_enabled_principals_of_its_workspace() {
    let (stage, portal) = with_portal().await;
    let deputy = stage.caller("acme", &["claviger:keys:write"]).await;
    let answer = make(&deputy.saying(PRINCIPAL, "joe"), named("x")).await;
    refused(answer, Code::PermissionDenied, "MISSING_SCOPE");
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("other", "zoe", &[SELF]))
        .await);
    let nobody = (Code::PermissionDenied, "NO_SUCH_PRINCIPAL");
    for id in ["zoe", "nobody"] {
        refused(
            make(&portal.saying(PRINCIPAL, id), named("x")).await,
            nobody.0,
            nobody.1,
        );
    }
    for id in ["a b", "a,b", ""] {
        invalid(
            make(&portal.saying(PRINCIPAL, id), named("x")).await,
            PRINCIPAL,
        );
    }
    let mut disable = knowing("acme", "joe", &[]);
    disable.principal.as_mut().unwrap().enabled = Some(false);
    disable.update_mask = mask(&["enabled"]);
    ok(stage.system.directory().upsert_principal(disable).await);
    refused(
        make(&portal.saying(PRINCIPAL, "joe"), named("x")).await,
        nobody.0,
        nobody.1,
    );
    // A portal of all workspaces says which one; else it is the default one.
    let of_all = stage.caller("system", &["claviger:on-behalf"]).await;
    let zoe = of_all.saying(PRINCIPAL, "zoe");
    refused(make(&zoe, named("x")).await, nobody.0, nobody.1);
    let zoe = zoe.saying("x-claviger-workspace", "other");
    let made = made(&stage, make(&zoe, named("hers")).await);
    assert_eq!(
        (&*made.key.workspace, &*made.key.principal),
        ("other", "zoe")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_principal_manages_that_ones_keys_without_a_portal() {
    let (stage, _) = with_portal().await;
    let own = stage.make(creating("acme", bound_to("joe", &[]))).await;
    let joe = stage.server.client_with(&own.primary);
    let another = made(&stage, make(&joe, named("another")).await);
    assert_eq!(another.key.principal, "joe");
    let of_ann = stage.make(creating("acme", bound_to("ann", &[]))).await;
    let get = v1::GetKeyRequest { id: of_ann.id() };
    not_theirs(joe.keys().get_key(get).await);
    // To name oneself is not to act for another.
    made(
        &stage,
        make(&joe.saying(PRINCIPAL, "joe"), named("third")).await,
    );
    let answer = make(&joe.saying(PRINCIPAL, "ann"), named("x")).await;
    refused(answer, Code::PermissionDenied, "MISSING_SCOPE");
    // Bound to nobody, the right is of no use.
    let unbound = stage.caller("acme", &[SELF]).await;
    refused(
        make(&unbound, named("x")).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_one_is_logged_in_for_is_the_default_of_keys_one_makes() {
    let (stage, portal) = with_portal().await;
    let joe = portal
        .saying(PRINCIPAL, "joe")
        .saying(SUBSCRIPTION, "basic");
    let default = made(&stage, make(&joe, named("default")).await);
    assert_eq!(default.key.subscriptions, ["basic"]);
    let chosen = v1::Key {
        subscriptions: vec!["pro".to_owned()],
        ..named("chosen")
    };
    let chosen = made(&stage, make(&joe, chosen).await);
    assert_eq!(chosen.key.subscriptions, ["pro"]);
    let missing = portal
        .saying(PRINCIPAL, "joe")
        .saying(SUBSCRIPTION, "missing");
    invalid(make(&missing, named("x")).await, "key.subscriptions[0]");
    let odd = portal.saying(PRINCIPAL, "joe").saying(SUBSCRIPTION, "a b");
    invalid(make(&odd, named("x")).await, SUBSCRIPTION);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_repeated_call_is_not_answered_with_anothers_token() {
    let (stage, portal) = with_portal().await;
    let request = || v1::CreateKeyRequest {
        request_id: request_id(7),
        ..creating("", named("same"))
    };
    let of = |id: &str| portal.saying(PRINCIPAL, id);
    let first = Made::from(ok(of("joe").keys().create_key(request()).await));
    let again = Made::from(ok(of("joe").keys().create_key(request()).await));
    assert_eq!((first.id(), &first.primary), (again.id(), &again.primary));
    let of_ann = Made::from(ok(of("ann").keys().create_key(request()).await));
    for made in [&first, &of_ann] {
        stage.server.remember(&made.primary);
    }
    assert_ne!(first.primary, of_ann.primary);
    assert_eq!(of_ann.key.principal, "ann");
    // What the metadata says is part of the request.
    let elsewhere = of("joe").saying(SUBSCRIPTION, "basic");
    let answer = elsewhere.keys().create_key(request()).await;
    refused(answer, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_workspace_of_ones_own_keys_nobody_makes_or_opens_anothers() {
    let (stage, portal) = with_portal().await;
    let before = stage.make(creating("acme", bound_to("joe", &[]))).await;
    let deputy = stage
        .caller("acme", &["claviger:keys:read", "claviger:keys:write", SELF])
        .await;
    who_makes_keys(&stage, KeyCreation::SelfOnly).await;
    let closed = (Code::PermissionDenied, "SELF_ONLY");
    for client in [&deputy, &stage.acme] {
        for key in [
            holding(&["orders:read"]),
            bound_to("joe", &["orders:read"]),
            named("x"),
        ] {
            refused(make(client, key).await, closed.0, closed.1);
        }
    }
    // Callers of `system` are no exception.
    let for_joe = creating("acme", bound_to("joe", &[]));
    refused(
        stage.system.keys().create_key(for_joe).await,
        closed.0,
        closed.1,
    );
    let id = || before.id();
    refused(
        deputy.keys().regenerate_secret(regenerating(id())).await,
        closed.0,
        closed.1,
    );
    let renamed = set(&id(), named("mine"), "display_name");
    refused(deputy.keys().update_key(renamed).await, closed.0, closed.1);
    let item =
        super::import_stream::moved("one", bound_to("joe", &[]), external(&foreign_token(1)));
    let imported = super::import_stream::one_message(&deputy, "", false, vec![item])
        .await
        .unwrap();
    let error = imported.results[0].error.as_ref().unwrap();
    assert_eq!(error.reason, "SELF_ONLY", "{}", error.message);
    // To take away stays open to those who write keys, and administrators' own keys are no users'.
    let enabled = |on| {
        let key = v1::Key {
            enabled: Some(on),
            ..Default::default()
        };
        set(&id(), key, "enabled")
    };
    ok(deputy.keys().update_key(enabled(false)).await);
    refused(
        deputy.keys().update_key(enabled(true)).await,
        closed.0,
        closed.1,
    );
    let another = made(
        &stage,
        make(&stage.acme, holding(&["claviger:on-behalf"])).await,
    );
    // Who is logged in does all of it.
    let joe = portal.saying(PRINCIPAL, "joe");
    ok(joe.keys().update_key(enabled(true)).await);
    made(&stage, make(&joe, named("mine")).await);
    let through = stage
        .server
        .client_with(&another.primary)
        .saying(PRINCIPAL, "ann");
    made(&stage, make(&through, named("hers")).await);
    // In force at once, and so is its end.
    who_makes_keys(&stage, KeyCreation::KeysWrite).await;
    made(&stage, make(&deputy, holding(&["orders:read"])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_administrators_make_keys_others_still_manage_them() {
    let (stage, portal) = with_portal().await;
    let deputy = stage.caller("acme", &["claviger:keys:write"]).await;
    let key = stage.key(&[]).await;
    who_makes_keys(&stage, KeyCreation::Administrators).await;
    let closed = (Code::PermissionDenied, "ADMINISTRATORS_ONLY");
    for client in [&deputy, &portal.saying(PRINCIPAL, "joe")] {
        refused(make(client, named("x")).await, closed.0, closed.1);
    }
    made(&stage, make(&stage.acme, named("made")).await);
    let fill = v1::RegenerateSecretRequest {
        slot: v1::Slot::Secondary.into(),
        source: generated(),
        ..regenerating(key.id())
    };
    let answer = ok(deputy.keys().regenerate_secret(fill).await);
    stage.server.remember(&answer.tokens[0].token);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_tokens_are_read_again_and_nobody_elses() {
    let (stage, portal) = with_portal().await;
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let joe = portal.saying(PRINCIPAL, "joe");
    let own = made(&stage, make(&joe, named("mine")).await);
    let of_ann = stage.make(creating("acme", bound_to("ann", &[]))).await;
    let reveal = |made: &Made| v1::RevealSecretRequest {
        key_id: made.id(),
        ..Default::default()
    };
    let shown = ok(joe.keys().reveal_secret(reveal(&own)).await)
        .token
        .unwrap();
    assert_eq!(shown.token, own.primary);
    not_theirs(joe.keys().reveal_secret(reveal(&of_ann)).await);
    let list = || v1::ListKeysRequest {
        view: v1::KeyView::WithTokens.into(),
        ..Default::default()
    };
    let page = ok(joe.keys().list_keys(list()).await);
    let tokens: Vec<_> = page.tokens.into_iter().map(|t| t.token).collect();
    assert_eq!(tokens, std::slice::from_ref(&own.primary));
    // Who may read the tokens of all, and only their own keys, sees their own.
    let both = knowing("acme", "joe", &["claviger:keys:reveal", SELF]);
    ok(stage.system.directory().upsert_principal(both).await);
    let key = stage.make(creating("acme", bound_to("joe", &[]))).await;
    let page = ok(stage
        .server
        .client_with(&key.primary)
        .keys()
        .list_keys(list())
        .await);
    assert!(
        page.keys.iter().all(|k| k.principal == "joe"),
        "{:?}",
        page.keys
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_who_called_and_on_whose_behalf() {
    let (stage, _) = with_portal().await;
    let portal = stage.key(&["claviger:on-behalf"]).await;
    let joe = stage.server.client_with(&portal.primary);
    let own = made(
        &stage,
        make(&joe.saying(PRINCIPAL, "joe"), named("mine")).await,
    );
    let request = v1::ListAuditEventsRequest {
        workspace: "acme".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let events = ok(stage.system.insights().list_audit_events(request).await).events;
    let told: Vec<_> = events
        .iter()
        .map(|e| (&*e.resource_id, e.actor == portal.id(), &*e.on_behalf_of))
        .collect();
    let (own, portal) = (own.id(), portal.id());
    assert_eq!(told, [(&*own, true, "joe"), (&*portal, false, "")]);
}
