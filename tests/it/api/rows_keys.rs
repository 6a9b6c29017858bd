//! The rows of `KeyAdmin` and `Authorize`.

use claviger::grpc::proto::v1::{self, secret_source::Source};
use prost::Message;

use super::rows::{CONTROL, Foreign, Names, READ, REVEAL, Row, Spoil, WRITE};
use super::stage::{creating, external, holding, mask, named, prefixed, request_id};

fn key_of(request: &mut v1::CreateKeyRequest) -> &mut v1::Key {
    request.key.as_mut().unwrap()
}

fn updated(request: &mut v1::UpdateKeyRequest) -> &mut v1::Key {
    request.key.as_mut().unwrap()
}

fn list_of(item: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| item.replace('#', &i.to_string()))
        .collect()
}

/// What any message with settings of a key can get wrong.
fn bad_settings<M: Message + Clone>(mut row: Spoil<M>, of: fn(&mut M) -> &mut v1::Key) -> Spoil<M> {
    type Fault = (&'static str, fn(&mut v1::Key));
    let faults: [Fault; 25] = [
        ("key.display_name", |k| k.display_name = "x".repeat(129)),
        ("key.display_name", |k| k.display_name = CONTROL.to_owned()),
        ("key.display_name", |k| k.display_name = "  ".to_owned()),
        ("key.description", |k| k.description = "x".repeat(1_025)),
        ("key.description", |k| k.description = CONTROL.to_owned()),
        ("key.scopes[1]", |k| {
            k.scopes = vec!["orders:read".to_owned(), "or ders".to_owned()]
        }),
        ("key.scopes[0]", |k| {
            k.scopes = vec!["undeclared".to_owned()]
        }),
        ("key.scopes[0]", |k| {
            k.scopes = vec!["claviger:nothing".to_owned()]
        }),
        ("key.scopes", |k| k.scopes = list_of("orders:#", 65)),
        ("key.subscriptions[0]", |k| {
            k.subscriptions = vec!["no such".to_owned()]
        }),
        ("key.subscriptions[0]", |k| {
            k.subscriptions = vec!["missing".to_owned()]
        }),
        ("key.subscriptions", |k| k.subscriptions = list_of("s#", 65)),
        ("key.principal", |k| k.principal = "missing".to_owned()),
        ("key.principal", |k| k.principal = "a b".to_owned()),
        ("key.scope_source", |k| k.scope_source = 99),
        ("key.scope_source", |k| {
            k.scope_source = v1::ScopeSource::Principal.into()
        }),
        ("key.allowed_cidrs[1]", |k| {
            k.allowed_cidrs = vec!["192.0.2.1".to_owned(), "192.0.2.0/33".to_owned()]
        }),
        ("key.allowed_cidrs[0]", |k| {
            k.allowed_cidrs = vec!["example.com".to_owned()]
        }),
        ("key.allowed_cidrs", |k| {
            k.allowed_cidrs = list_of("10.0.0.#", 65)
        }),
        ("key.postback_url", |k| {
            k.postback_url = "http://example.com".to_owned()
        }),
        ("key.postback_url", |k| {
            k.postback_url = format!("https://example.com/{}", "x".repeat(2_048))
        }),
        ("key.labels", |k| {
            drop(k.labels.insert("Bad Name".to_owned(), String::new()))
        }),
        ("key.labels", |k| {
            k.labels = (0..33).map(|i| (format!("l{i}"), String::new())).collect()
        }),
        ("key.enforcement.network", |k| {
            k.enforcement = Some(v1::Enforcement {
                network: 99,
                ..Default::default()
            })
        }),
        ("key.expire_time", |k| {
            k.expire_time = Some(prost_types::Timestamp {
                seconds: 1,
                nanos: -1,
            })
        }),
    ];
    for (field, fault) in faults {
        row = row.bad(field, |r| fault(of(r)));
    }
    row
}

/// The rows of `KeyAdmin` and `Authorize`, in an order in which all good requests succeed.
pub(crate) fn of_keys(n: &Names) -> Vec<Row> {
    let none = || (n.workspace.clone(), n.key.clone());
    let (workspace, key) = none();
    let create = v1::CreateKeyRequest {
        request_id: request_id(1),
        ..creating(&workspace, holding(&["orders:read"]))
    };
    let create = Spoil::new("KeyAdmin/CreateKey", WRITE, Foreign::NotFound, create)
        .bad_request_id(|r| &mut r.request_id)
        .bad("workspace", |r| r.workspace = "Not_A_Workspace".to_owned())
        .bad("key", |r| r.key = None)
        .bad("primary.external_token", |r| r.primary = external("short"))
        .bad("primary.external_token", |r| {
            r.primary = external(&"x".repeat(513))
        })
        .bad("primary.external_token", |r| {
            r.primary = external("with,comma-9f86d081884c7d659a2feaa0c55ad015")
        })
        .bad("primary.external_token", |r| {
            r.primary = external("ctrl\u{7}9f86d081884c7d659a2feaa0c55ad015")
        })
        .bad("primary.external_token", |r| {
            r.primary = external("ünicode-9f86d081884c7d659a2feaa0c55ad015")
        })
        .bad("primary.generate.prefix", |r| {
            r.primary = prefixed("Bad Prefix")
        })
        .bad("secondary.generate.prefix", |r| {
            r.secondary = prefixed("toolongaprefixforthis")
        })
        .bad("primary.external_digest", |r| {
            let digest = v1::ExternalDigest {
                sha256_hex: "zz".repeat(32),
                asserted_entropy_bits: 256,
                allow_weak: false,
            };
            r.primary = Some(v1::SecretSource {
                source: Some(Source::ExternalDigest(digest)),
            });
        });
    let update = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: key.clone(),
            description: "changed".to_owned(),
            ..named("renamed")
        }),
        update_mask: mask(&["display_name", "description"]),
        request_id: request_id(2),
        ..Default::default()
    };
    let update = Spoil::new("KeyAdmin/UpdateKey", WRITE, Foreign::NotFound, update)
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("update_mask", |r| r.update_mask = mask(&["nonsense"]))
        .bad("update_mask", |r| r.update_mask = mask(&["secrets"]))
        .bad("update_mask", |r| r.update_mask = mask(&["display_name.x"]))
        .bad("key.id", |r| updated(r).id = "key_nonsense".to_owned())
        .bad("key", |r| r.key = None);
    let update = bad_settings(
        update.bad("key.display_name", |r| {
            r.update_mask = mask(&["*"]);
            updated(r).display_name.clear();
        }),
        |r| {
            r.update_mask = mask(&["*"]);
            updated(r)
        },
    );
    let regenerate = v1::RegenerateSecretRequest {
        key_id: key.clone(),
        slot: v1::Slot::Primary.into(),
        request_id: request_id(3),
        ..Default::default()
    };
    let regenerate = Spoil::new(
        "KeyAdmin/RegenerateSecret",
        WRITE,
        Foreign::NotFound,
        regenerate,
    )
    .bad_request_id(|r| &mut r.request_id)
    .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
    .bad("key_id", |r| r.key_id = CONTROL.to_owned())
    .bad("slot", |r| r.slot = 99)
    .bad("grace", |r| {
        r.grace = Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        })
    })
    .bad("grace", |r| {
        r.grace = Some(prost_types::Duration {
            seconds: 91 * 86_400,
            nanos: 0,
        })
    })
    .bad("source.external_token", |r| r.source = external("short"));
    let revoke = v1::RevokeSecretRequest {
        key_id: key.clone(),
        secret_id: n.secret.clone(),
        reason: v1::RevocationReason::KeyCompromise.into(),
        request_id: request_id(4),
        ..Default::default()
    };
    let revoke = Spoil::new("KeyAdmin/RevokeSecret", WRITE, Foreign::NotFound, revoke)
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("key_id", |r| r.key_id.clear())
        .bad("secret_id", |r| r.secret_id = "sec_".to_owned())
        .bad("reason", |r| r.reason = 99);
    let delete = v1::DeleteKeyRequest {
        id: n.spare.clone(),
        request_id: request_id(5),
        ..Default::default()
    };
    let undelete = v1::UndeleteKeyRequest {
        id: n.deleted.clone(),
        request_id: request_id(6),
        ..Default::default()
    };
    let get = v1::GetKeyRequest { id: key.clone() };
    let reveal = v1::RevealSecretRequest {
        key_id: key.clone(),
        secret_id: String::new(),
    };
    let acknowledge = v1::AcknowledgeSecretRequest {
        key_id: key,
        secret_id: String::new(),
    };
    let lookup = v1::LookupKeyRequest {
        workspace,
        token: n.token.clone(),
        sha256_hex: String::new(),
    };
    vec![
        bad_settings(create, key_of).done(),
        import_keys(n),
        Spoil::new("KeyAdmin/GetKey", READ, Foreign::NotFound, get)
            .bad("id", |r| r.id.clear())
            .bad("id", |r| r.id = "x".repeat(5_000))
            .bad("id", |r| r.id = CONTROL.to_owned())
            .done(),
        list_keys(n),
        report_leak(n),
        update.done(),
        Spoil::new("KeyAdmin/LookupKey", READ, Foreign::NotFound, lookup)
            .bad("workspace", |r| r.workspace = CONTROL.to_owned())
            .bad("sha256_hex|token", |r| r.sha256_hex = "a".repeat(64))
            .bad("sha256_hex|token", |r| r.token.clear())
            .bad("sha256_hex", |r| {
                r.token.clear();
                r.sha256_hex = "a".repeat(63);
            })
            .bad("token", |r| r.token = "x".repeat(513))
            .done(),
        Spoil::new("KeyAdmin/RevealSecret", REVEAL, Foreign::NotFound, reveal)
            .bad("key_id", |r| r.key_id = "sec_x".to_owned())
            .bad("secret_id", |r| r.secret_id = "x".to_owned())
            .done(),
        Spoil::new(
            "KeyAdmin/AcknowledgeSecret",
            WRITE,
            Foreign::NotFound,
            acknowledge,
        )
        .bad("key_id", |r| r.key_id.clear())
        .bad("secret_id", |r| r.secret_id = CONTROL.to_owned())
        .done(),
        regenerate.done(),
        revoke.done(),
        Spoil::new("KeyAdmin/DeleteKey", WRITE, Foreign::NotFound, delete)
            .bad_request_id(|r| &mut r.request_id)
            .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
            .bad("id", |r| r.id = "nonsense".to_owned())
            .done(),
        Spoil::new("KeyAdmin/UndeleteKey", WRITE, Foreign::NotFound, undelete)
            .bad_request_id(|r| &mut r.request_id)
            .bad("id", |r| r.id.clear())
            .done(),
        check(n),
        batch_check(n),
    ]
}

fn report_leak(n: &Names) -> Row {
    let found = |token: &str| v1::FoundToken {
        token: token.to_owned(),
        url: "https://git.example/a/b".to_owned(),
        ..Default::default()
    };
    let good = v1::ReportLeakRequest {
        workspace: n.workspace.clone(),
        leaks: vec![found(&n.token)],
    };
    Spoil::new("KeyAdmin/ReportLeak", WRITE, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = "Not_A_Workspace".to_owned())
        .bad("leaks", |r| r.leaks.clear())
        .bad("leaks", |r| r.leaks = vec![r.leaks[0].clone(); 101])
        .bad("leaks[1].token", |r| {
            let mut short = r.leaks[0].clone();
            short.token = "short".to_owned();
            r.leaks.push(short);
        })
        .bad("leaks[0].token", |r| r.leaks[0].token.clear())
        .bad("leaks[0].token", |r| r.leaks[0].sha256_hex = "a".repeat(64))
        .bad("leaks[0].sha256_hex", |r| {
            r.leaks[0].token.clear();
            r.leaks[0].sha256_hex = "a".repeat(63);
        })
        .bad("leaks[0].url", |r| r.leaks[0].url = "x".repeat(2_049))
        .bad("leaks[0].type", |r| r.leaks[0].r#type = CONTROL.to_owned())
        .bad("leaks[0].source", |r| r.leaks[0].source = "x".repeat(129))
        .done()
}

fn list_keys(n: &Names) -> Row {
    let list = v1::ListKeysRequest {
        workspace: n.workspace.clone(),
        ..Default::default()
    };
    let filter = |r: &mut v1::ListKeysRequest, f: v1::KeyFilter| r.filter = Some(f);
    Spoil::new("KeyAdmin/ListKeys", READ, Foreign::NotFound, list)
        .bad("workspace", |r| r.workspace = "x".repeat(64))
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = "nonsense".to_owned())
        .bad("page_token", |r| r.page_token = "x".repeat(100_000))
        .bad("order_by", |r| {
            r.order_by = "id; drop table keys".to_owned()
        })
        .bad("view", |r| r.view = 99)
        .bad("filter.states[0]", |r| {
            filter(
                r,
                v1::KeyFilter {
                    states: vec![99],
                    ..Default::default()
                },
            )
        })
        .bad("filter.name_contains", |r| {
            filter(
                r,
                v1::KeyFilter {
                    name_contains: "x".repeat(129),
                    ..Default::default()
                },
            )
        })
        .bad("filter.scope", |r| {
            filter(
                r,
                v1::KeyFilter {
                    scope: "a b".to_owned(),
                    ..Default::default()
                },
            )
        })
        .bad("filter.subscription", |r| {
            filter(
                r,
                v1::KeyFilter {
                    subscription: "a b".to_owned(),
                    ..Default::default()
                },
            )
        })
        .bad("filter.principal", |r| {
            filter(
                r,
                v1::KeyFilter {
                    principal: "a b".to_owned(),
                    ..Default::default()
                },
            )
        })
        .bad("filter.label", |r| {
            filter(
                r,
                v1::KeyFilter {
                    label: "A B=c".to_owned(),
                    ..Default::default()
                },
            )
        })
        .bad("filter.unused_since", |r| {
            let time = prost_types::Timestamp {
                seconds: 0,
                nanos: 1_000_000_000,
            };
            filter(
                r,
                v1::KeyFilter {
                    unused_since: Some(time),
                    ..Default::default()
                },
            );
        })
        .done()
}

/// What is wrong with an item is said in its result; only what is wrong with a message is an error.
fn import_keys(n: &Names) -> Row {
    let item = v1::ImportItem {
        import_id: "row-1".to_owned(),
        key: Some(holding(&["orders:read"])),
        primary: external("moved-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        secondary: None,
    };
    let good = v1::ImportKeysRequest {
        workspace: n.workspace.clone(),
        validate_only: false,
        items: vec![item],
    };
    Spoil::new("KeyAdmin/ImportKeys", WRITE, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = "Not_A_Workspace".to_owned())
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("items", |r| r.items = vec![r.items[0].clone(); 1_001])
        .done()
}

fn check(n: &Names) -> Row {
    let good = super::stage::asking(&n.workspace, &n.token, &["orders:read"]);
    let http = |headers: usize, name: &str| {
        let header = v1::HttpHeader {
            name: name.to_owned(),
            value: "v".to_owned(),
        };
        Some(v1::HttpRequest {
            headers: vec![header; headers],
            path: "/".to_owned(),
            ..Default::default()
        })
    };
    Spoil::new("Authorize/Check", "", Foreign::Open, good)
        .bad("workspace", |r| r.workspace = "Not_A_Workspace".to_owned())
        .bad("source_ip", |r| r.source_ip = "192.0.2.1:80".to_owned())
        .bad("source_ip", |r| r.source_ip = CONTROL.to_owned())
        .bad("required_scopes[1]", |r| {
            r.required_scopes.push("a b".to_owned())
        })
        .bad("required_scopes[1]", |r| {
            r.required_scopes.push("orders:*".to_owned())
        })
        .bad("required_scopes[1]", |r| {
            r.required_scopes.push("claviger:keys:read".to_owned())
        })
        .bad("required_scopes", |r| {
            r.required_scopes = list_of("s:#", 65)
        })
        .bad("any_of_scopes[0]", |r| {
            r.any_of_scopes = vec!["x".repeat(129)]
        })
        .bad("route", |r| r.route = "a b".to_owned())
        .bad("verified_claims", |r| {
            r.verified_claims = (0..65).map(|n| (n.to_string(), String::new())).collect()
        })
        .bad("any_of_scopes", |r| r.any_of_scopes = list_of("s:#", 65))
        .bad("subscription", |r| r.subscription = "a b".to_owned())
        .bad("at_least_revision", |r| {
            r.at_least_revision = "7".to_owned()
        })
        .bad("credential.presentation", |r| {
            r.credential.as_mut().unwrap().presentation = 99
        })
        .bad("credential|http", |r| r.http = http(1, "x-api-key"))
        .bad("http.headers", |r| {
            r.credential = None;
            r.http = http(257, "x-other");
        })
        .done()
}

fn batch_check(n: &Names) -> Row {
    let one = super::stage::asking(&n.workspace, &n.token, &["orders:read"]);
    let good = v1::BatchCheckRequest { checks: vec![one] };
    Spoil::new("Authorize/BatchCheck", "", Foreign::Open, good)
        .bad("checks", |r| r.checks.clear())
        .bad("checks", |r| r.checks = vec![r.checks[0].clone(); 1_001])
        .done()
}
