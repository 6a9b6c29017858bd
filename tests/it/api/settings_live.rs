//! Every setting of a workspace is in force when its change is answered: on the process that made it, without a restart. What
//! there is to see of each is a table, which `postgres::settings` asks of another process too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use claviger::grpc::proto::v1::hygiene_finding::Kind;
use claviger::grpc::proto::v1::leaked_secret::Action;
use claviger::grpc::proto::v1::{self, Presentation, Slot};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::stage::{creating, duration, generated, holding, mask, named};
use crate::harness::{Admin, Folder, PATIENCE, Process, check_of, register};

pub(crate) const WORKSPACE: &str = "live";

/// A setting: how it is changed, and what is to be seen before and after.
pub(crate) struct Live {
    pub(crate) paths: &'static [&'static str],
    set: fn(&mut v1::WorkspaceSettings),
    /// Asks a process for what there is to see.
    pub(crate) probe: fn(&Admin) -> String,
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

/// In an order in which each stands on those before it: settings stay as they were set.
pub(crate) const SETTINGS: &[Live] = &[
    Live {
        paths: &["settings.rotation_guard"],
        set: |s| s.rotation_guard = duration(0),
        probe: guarded,
        before: "OTHER_SLOT_UNPROVEN",
        after: "regenerated",
    },
    Live {
        paths: &["settings.default_lifetime"],
        set: |s| s.default_lifetime = duration(86_400),
        probe: |admin| match made(admin).0.expire_time {
            None => "for ever".to_owned(),
            Some(_) => "a day".to_owned(),
        },
        before: "for ever",
        after: "a day",
    },
    Live {
        paths: &["settings.longest_lifetime"],
        set: |s| s.longest_lifetime = duration(2 * 86_400),
        probe: |admin| {
            let seconds = now() + 3 * 86_400;
            let key = v1::Key {
                expire_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
                ..named("three days")
            };
            said(admin.create_key(creating(WORKSPACE, key)), |_| {
                "made".to_owned()
            })
        },
        before: "made",
        after: "LIFETIME_TOO_LONG",
    },
    Live {
        paths: &["settings.rotation_age"],
        set: |s| s.rotation_age = duration(1),
        probe: due,
        before: "not due",
        after: "due",
    },
    Live {
        paths: &["settings.slots"],
        set: |s| s.slots = v1::SlotPolicy::Two.into(),
        probe: |admin| made(admin).1.len().to_string(),
        before: "1",
        after: "2",
    },
    Live {
        paths: &["settings.token_prefix"],
        set: |s| s.token_prefix = Some("acme_live".to_owned()),
        probe: |admin| {
            let (_, tokens) = made(admin);
            tokens[0].split_at(tokens[0].len() - 48).0.to_owned()
        },
        before: "clv_",
        after: "acme_live_",
    },
    Live {
        paths: &["settings.secret_storage"],
        set: |s| s.secret_storage = v1::SecretStorage::Recoverable.into(),
        probe: |admin| {
            let (key, tokens) = made(admin);
            let request = v1::RevealSecretRequest {
                key_id: key.id,
                secret_id: String::new(),
            };
            said(admin.reveal_secret(request), |answer| {
                assert_eq!(answer.token.unwrap().token, tokens[0]);
                "revealed".to_owned()
            })
        },
        before: "NOT_RECOVERABLE",
        after: "revealed",
    },
    Live {
        paths: &["settings.leak_policy"],
        set: |s| s.leak_policy = v1::LeakPolicy::Disable.into(),
        probe: |admin| leaked(admin).0,
        before: "ACTION_NOTIFIED",
        after: "ACTION_DISABLED",
    },
    Live {
        paths: &["settings.leak_policy", "settings.leak_grace"],
        set: |s| {
            s.leak_policy = v1::LeakPolicy::Regenerate.into();
            s.leak_grace = duration(3_600);
        },
        probe: |admin| leaked(admin).1,
        before: "REASON_KEY_DISABLED",
        after: "REASON_OK",
    },
    Live {
        paths: &["settings.provisioning"],
        set: |s| s.provisioning = Some(v1::KeyProvisioning::default()),
        probe: provisioned,
        before: "0",
        after: "2",
    },
    Live {
        paths: &["settings.locations"],
        set: |s| {
            s.locations = vec![v1::CredentialLocation {
                location: Some(v1::credential_location::Location::Header(
                    "Connxio-Api-Key".to_owned(),
                )),
            }];
        },
        probe: |admin| {
            let (_, tokens) = made(admin);
            let header = v1::HttpHeader {
                name: "connxio-api-key".to_owned(),
                value: tokens[0].clone(),
            };
            let request = v1::CheckRequest {
                credential: None,
                http: Some(v1::HttpRequest {
                    headers: vec![header],
                    path: "/".to_owned(),
                    ..Default::default()
                }),
                ..check_of(WORKSPACE, "")
            };
            reason(admin, request)
        },
        before: "REASON_NO_CREDENTIAL",
        after: "REASON_OK",
    },
    Live {
        paths: &["settings.presentations"],
        set: |s| s.presentations = vec![Presentation::Header.into(), Presentation::Query.into()],
        probe: |admin| {
            let (_, tokens) = made(admin);
            let mut request = check_of(WORKSPACE, &tokens[0]);
            request.credential.as_mut().unwrap().presentation = Presentation::Query.into();
            reason(admin, request)
        },
        before: "REASON_PRESENTATION_NOT_ALLOWED",
        after: "REASON_OK",
    },
    Live {
        paths: &["settings.undemanded_scopes"],
        set: |s| s.undemanded_scopes = v1::UndemandedScopes::Deny.into(),
        probe: |admin| {
            let (_, tokens) = made(admin);
            reason(admin, check_of(WORKSPACE, &tokens[0]))
        },
        before: "REASON_OK",
        after: "REASON_NOTHING_DEMANDED",
    },
];

/// Makes the workspace that the table is about.
pub(crate) fn set_stage(admin: &Admin) {
    admin.workspace(WORKSPACE, &["orders:read"]);
}

impl Live {
    /// Changes the setting through this process.
    pub(crate) fn change(&self, admin: &Admin) {
        let mut settings = v1::WorkspaceSettings::default();
        (self.set)(&mut settings);
        let request = v1::UpdateWorkspaceRequest {
            workspace: Some(v1::Workspace {
                id: WORKSPACE.to_owned(),
                settings: Some(settings),
                ..Default::default()
            }),
            update_mask: mask(self.paths),
            ..Default::default()
        };
        admin.update_workspace(request).unwrap();
    }

    /// Asks until there is to be seen what is to be; how long that took.
    pub(crate) fn wait(&self, admin: &Admin) -> Duration {
        let start = Instant::now();
        loop {
            let seen = (self.probe)(admin);
            let waited = start.elapsed();
            if seen == self.after {
                return waited;
            }
            assert!(waited < PATIENCE, "{:?}: {seen} remains", self.paths);
        }
    }
}

fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the service under test has the system's clock"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs() as i64
}

/// What an error says, or what is made of an answer.
fn said<T>(answer: Result<T, Status>, good: impl FnOnce(T) -> String) -> String {
    match answer {
        Ok(answer) => good(answer),
        Err(status) => {
            let details = status.get_error_details();
            let info = details.error_info().unwrap_or_else(|| panic!("{status:?}"));
            info.reason.clone()
        }
    }
}

fn reason(admin: &Admin, request: v1::CheckRequest) -> String {
    admin
        .check(request)
        .unwrap()
        .reason()
        .as_str_name()
        .to_owned()
}

/// Makes a key by the settings that hold; its tokens.
fn made(admin: &Admin) -> (v1::Key, Vec<String>) {
    let answer = admin
        .create_key(creating(WORKSPACE, holding(&["orders:read"])))
        .unwrap();
    (answer.key.unwrap(), kept(&answer.tokens))
}

fn kept(tokens: &[v1::IssuedToken]) -> Vec<String> {
    let tokens: Vec<_> = tokens.iter().map(|t| t.token.clone()).collect();
    tokens.iter().for_each(|t| register(t));
    tokens
}

/// Replaces both secrets of a key, the one in use last.
fn guarded(admin: &Admin) -> String {
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating(WORKSPACE, named("two slots"))
    };
    let answer = admin.create_key(request).unwrap();
    let tokens = kept(&answer.tokens);
    let id = answer.key.unwrap().id;
    let replace = |slot: Slot| v1::RegenerateSecretRequest {
        key_id: id.clone(),
        slot: slot.into(),
        ..Default::default()
    };
    kept(
        &admin
            .regenerate_secret(replace(Slot::Secondary))
            .unwrap()
            .tokens,
    );
    assert!(admin.decide(WORKSPACE, &tokens[0]).reason() == v1::Reason::Ok);
    said(admin.regenerate_secret(replace(Slot::Primary)), |answer| {
        kept(&answer.tokens);
        "regenerated".to_owned()
    })
}

/// Whether a key that is a second old is due for regeneration.
#[expect(
    clippy::disallowed_methods,
    reason = "the event that is waited for is a second that passes on the service's clock"
)]
fn due(admin: &Admin) -> String {
    let (key, _) = made(admin);
    let made_at = key.create_time.unwrap().seconds;
    while now() < made_at + 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let request = v1::GetKeyHygieneRequest {
        workspace: WORKSPACE.to_owned(),
        findings: vec![Kind::RotationDue.into()],
        page_size: 1_000,
        ..Default::default()
    };
    let answer = admin.get_key_hygiene(request).unwrap();
    let named = answer
        .keys
        .iter()
        .any(|k| k.key.as_ref().unwrap().id == key.id);
    if named { "due" } else { "not due" }.to_owned()
}

/// What a report of a leak did, and what becomes of the token.
fn leaked(admin: &Admin) -> (String, String) {
    let (_, tokens) = made(admin);
    let request = v1::ReportLeakRequest {
        workspace: WORKSPACE.to_owned(),
        leaks: vec![v1::FoundToken {
            token: tokens[0].clone(),
            ..Default::default()
        }],
    };
    let answer = admin.report_leak(request).unwrap();
    let leaked = &answer.results[0].secrets[0];
    kept(&leaked.tokens);
    let action = Action::try_from(leaked.action).unwrap().as_str_name();
    let decision = admin.decide(WORKSPACE, &tokens[0]);
    (
        action.to_owned(),
        decision.reason().as_str_name().to_owned(),
    )
}

/// How many tokens a new subscription comes with.
fn provisioned(admin: &Admin) -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let n = MADE.fetch_add(1, Ordering::SeqCst);
    let subscription = v1::Subscription {
        workspace: WORKSPACE.to_owned(),
        id: format!("s{n}"),
        ..Default::default()
    };
    let answer = admin.create_subscription(v1::CreateSubscriptionRequest {
        subscription: Some(subscription),
        ..Default::default()
    });
    kept(&answer.unwrap().tokens).len().to_string()
}

#[test]
fn every_setting_is_in_force_when_its_change_is_answered() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    set_stage(&admin);
    for live in SETTINGS {
        assert_eq!((live.probe)(&admin), live.before, "{:?}", live.paths);
        live.change(&admin);
        assert_eq!((live.probe)(&admin), live.after, "{:?}", live.paths);
    }
}
