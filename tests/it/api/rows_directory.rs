//! The rows of `Directory`.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, DIRECTORY, Foreign, Names, READ, Row, Spoil};
use super::stage::{declaring, mask, request_id, selling};

/// In an order in which all good requests succeed.
pub(crate) fn of_directory(n: &Names) -> Vec<Row> {
    [workspaces(n), subscriptions(n), scopes(n)]
        .into_iter()
        .flatten()
        .collect()
}

fn workspaces(n: &Names) -> Vec<Row> {
    let workspace = |id: &str| v1::Workspace {
        id: id.to_owned(),
        display_name: "A tenant".to_owned(),
        ..Default::default()
    };
    let create = v1::CreateWorkspaceRequest {
        workspace: Some(workspace("brand-new")),
        request_id: request_id(20),
    };
    let update = v1::UpdateWorkspaceRequest {
        workspace: Some(workspace(&n.workspace)),
        update_mask: mask(&["display_name"]),
        request_id: request_id(21),
        ..Default::default()
    };
    let delete = v1::DeleteWorkspaceRequest {
        id: n.spare_workspace.clone(),
        request_id: request_id(22),
        ..Default::default()
    };
    fn settings(r: &mut v1::UpdateWorkspaceRequest) -> &mut v1::WorkspaceSettings {
        r.update_mask = mask(&["settings"]);
        r.workspace
            .as_mut()
            .unwrap()
            .settings
            .get_or_insert_default()
    }
    fn granting(scope: &str) -> Option<v1::KeyProvisioning> {
        Some(v1::KeyProvisioning {
            scopes: vec![scope.to_owned()],
        })
    }
    let header = |name: &str| v1::CredentialLocation {
        location: Some(v1::credential_location::Location::Header(name.to_owned())),
    };
    let created = Spoil::new(
        "Directory/CreateWorkspace",
        DIRECTORY,
        Foreign::SystemOnly,
        create,
    )
    .bad_request_id(|r| &mut r.request_id)
    .bad("workspace", |r| r.workspace = None)
    .bad("workspace.id", |r| {
        r.workspace.as_mut().unwrap().id = "-no-".to_owned()
    })
    .bad("workspace.id", |r| {
        r.workspace.as_mut().unwrap().id = "x".repeat(64)
    })
    .bad("workspace.display_name", |r| {
        r.workspace.as_mut().unwrap().display_name = CONTROL.to_owned()
    });
    let updated = Spoil::new(
        "Directory/UpdateWorkspace",
        DIRECTORY,
        Foreign::NotFound,
        update,
    )
    .bad_request_id(|r| &mut r.request_id)
    .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
    .bad("workspace.id", |r| r.workspace.as_mut().unwrap().id.clear())
    .bad("workspace.display_name", |r| {
        r.workspace.as_mut().unwrap().display_name = "x".repeat(129)
    })
    .bad("update_mask", |r| {
        r.update_mask = mask(&["settings.nonsense"])
    })
    .bad("update_mask", |r| r.update_mask = mask(&["create_time"]))
    .bad("workspace.settings.locations", |r| {
        settings(r).locations = vec![header("x-key"); 17]
    })
    .bad("workspace.settings.locations[0]", |r| {
        settings(r).locations = vec![header("Authorization")]
    })
    .bad("workspace.settings.locations[0]", |r| {
        settings(r).locations = vec![header("x-claviger-key-id")]
    })
    .bad("workspace.settings.locations[0]", |r| {
        settings(r).locations = vec![header("x key")]
    })
    .bad("workspace.settings.locations[0]", |r| {
        settings(r).locations = vec![v1::CredentialLocation { location: None }]
    })
    .bad("workspace.settings.presentations[1]", |r| {
        settings(r).presentations = vec![1, 99]
    })
    .bad("workspace.settings.undemanded_scopes", |r| {
        settings(r).undemanded_scopes = 99
    })
    .bad("workspace.settings.secret_storage", |r| {
        settings(r).secret_storage = -1
    })
    .bad("workspace.settings.slots", |r| settings(r).slots = 99)
    .bad("workspace.settings.key_creation", |r| {
        settings(r).key_creation = 99
    })
    .bad("workspace.settings.rotation_guard", |r| {
        settings(r).rotation_guard = Some(prost_types::Duration {
            seconds: 91 * 86_400,
            nanos: 0,
        });
    })
    .bad("workspace.settings.rotation_guard", |r| {
        settings(r).rotation_guard = Some(prost_types::Duration {
            seconds: 1,
            nanos: -1,
        });
    })
    .bad("workspace.settings.enforcement.scopes", |r| {
        settings(r).enforcement = Some(v1::Enforcement {
            scopes: 99,
            ..Default::default()
        });
    })
    .bad("workspace.settings.request_log", |r| {
        settings(r).request_log = 99
    })
    .bad("workspace.settings.request_log_sample", |r| {
        settings(r).request_log_sample = Some(1.5)
    })
    .bad("workspace.settings.request_log_sample", |r| {
        settings(r).request_log_sample = Some(f64::NAN)
    })
    .bad("workspace.settings.request_log_retention", |r| {
        settings(r).request_log_retention = Some(prost_types::Duration {
            seconds: 3_599,
            nanos: 0,
        });
    })
    .bad("workspace.settings.usage_retention", |r| {
        settings(r).usage_retention = Some(prost_types::Duration {
            seconds: 3_661 * 86_400,
            nanos: 0,
        });
    })
    .bad("workspace.settings.token_prefix", |r| {
        settings(r).token_prefix = Some("Bad".to_owned())
    })
    .bad("workspace.settings.default_lifetime", |r| {
        settings(r).default_lifetime = super::stage::duration(59)
    })
    .bad("workspace.settings.default_lifetime", |r| {
        settings(r).default_lifetime = super::stage::duration(7_200);
        settings(r).longest_lifetime = super::stage::duration(3_600);
    })
    .bad("workspace.settings.longest_lifetime", |r| {
        settings(r).longest_lifetime = super::stage::duration(3_651 * 86_400)
    })
    .bad("workspace.settings.longest_lifetime", |r| {
        settings(r).longest_lifetime = super::stage::duration(3_600);
        r.workspace.as_mut().unwrap().id = "system".to_owned();
    })
    .bad("workspace.settings.rotation_age", |r| {
        settings(r).rotation_age = super::stage::duration(0)
    })
    .bad("workspace.settings.leak_policy", |r| {
        settings(r).leak_policy = 99
    })
    .bad("workspace.settings.leak_grace", |r| {
        settings(r).leak_grace = super::stage::duration(91 * 86_400)
    })
    .bad("workspace.settings.provisioning.scopes[0]", |r| {
        settings(r).provisioning = granting("undeclared")
    })
    .bad("workspace.settings.provisioning.scopes[0]", |r| {
        settings(r).provisioning = granting("claviger:keys:read")
    });
    let get = v1::GetWorkspaceRequest {
        id: n.workspace.clone(),
    };
    vec![
        created.done(),
        Spoil::new("Directory/GetWorkspace", READ, Foreign::NotFound, get)
            .bad("id", |r| r.id = "Nobody's".to_owned())
            .bad("id", |r| r.id = "x".repeat(100_000))
            .done(),
        Spoil::new(
            "Directory/ListWorkspaces",
            READ,
            Foreign::Filtered,
            v1::ListWorkspacesRequest::default(),
        )
        .bad("page_size", |r| r.page_size = i32::MIN)
        .bad("page_token", |r| r.page_token = CONTROL.to_owned())
        .done(),
        updated.done(),
        Spoil::new(
            "Directory/DeleteWorkspace",
            DIRECTORY,
            Foreign::SystemOnly,
            delete,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("id", |r| r.id = "a b".to_owned())
        .done(),
    ]
}

fn provisioning(key: v1::Key) -> Option<v1::ProvisionedKey> {
    Some(v1::ProvisionedKey {
        key: Some(key),
        ..Default::default()
    })
}

fn subscriptions(n: &Names) -> Vec<Row> {
    let workspace = n.workspace.clone();
    let create = v1::CreateSubscriptionRequest {
        request_id: request_id(30),
        ..selling(&workspace, "brand-new")
    };
    let update = v1::UpdateSubscriptionRequest {
        subscription: Some(v1::Subscription {
            workspace: workspace.clone(),
            id: n.subscription.clone(),
            display_name: "Basic".to_owned(),
            ..Default::default()
        }),
        request_id: request_id(31),
        ..Default::default()
    };
    let delete = v1::DeleteSubscriptionRequest {
        workspace: workspace.clone(),
        id: n.spare_subscription.clone(),
        request_id: request_id(32),
        ..Default::default()
    };
    let get = v1::GetSubscriptionRequest {
        workspace: workspace.clone(),
        id: n.subscription.clone(),
    };
    let list = v1::ListSubscriptionsRequest {
        workspace,
        ..Default::default()
    };
    vec![
        Spoil::new(
            "Directory/CreateSubscription",
            DIRECTORY,
            Foreign::NotFound,
            create,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad("subscription", |r| r.subscription = None)
        .bad("provision_key.key.scopes[0]", |r| {
            r.provision_key = provisioning(super::stage::holding(&["undeclared"]))
        })
        .bad("provision_key.key.subscriptions", |r| {
            r.provision_key = provisioning(v1::Key {
                subscriptions: vec!["basic".to_owned()],
                ..Default::default()
            })
        })
        .bad("provision_key.key.display_name", |r| {
            r.provision_key = provisioning(super::stage::named(CONTROL))
        })
        .bad("provision_key.secondary.generate.prefix", |r| {
            r.provision_key = provisioning(v1::Key::default());
            r.provision_key.as_mut().unwrap().secondary = super::stage::prefixed("Bad Prefix");
        })
        .bad("subscription.id", |r| {
            r.subscription.as_mut().unwrap().id = ".hidden".to_owned()
        })
        .bad("subscription.id", |r| {
            r.subscription.as_mut().unwrap().id = "x".repeat(65)
        })
        .bad("subscription.display_name", |r| {
            r.subscription.as_mut().unwrap().display_name = CONTROL.to_owned()
        })
        .bad("subscription.workspace|workspace", |r| {
            r.subscription.as_mut().unwrap().workspace = "A".to_owned()
        })
        .done(),
        Spoil::new("Directory/GetSubscription", READ, Foreign::NotFound, get)
            .bad("id", |r| r.id.clear())
            .bad("workspace", |r| r.workspace = "A".to_owned())
            .done(),
        Spoil::new("Directory/ListSubscriptions", READ, Foreign::NotFound, list)
            .bad("page_size", |r| r.page_size = -1)
            .bad("page_token", |r| r.page_token = "%%%".to_owned())
            .bad("workspace", |r| r.workspace = "A".to_owned())
            .done(),
        Spoil::new(
            "Directory/UpdateSubscription",
            DIRECTORY,
            Foreign::NotFound,
            update,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("subscription.id", |r| {
            r.subscription.as_mut().unwrap().id.clear()
        })
        .bad("subscription.display_name", |r| {
            r.subscription.as_mut().unwrap().display_name = "x".repeat(129)
        })
        .bad("update_mask", |r| r.update_mask = mask(&["id"]))
        .done(),
        Spoil::new(
            "Directory/DeleteSubscription",
            DIRECTORY,
            Foreign::NotFound,
            delete,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("id", |r| r.id = CONTROL.to_owned())
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .done(),
    ]
}

fn scopes(n: &Names) -> Vec<Row> {
    let workspace = n.workspace.clone();
    let create = v1::CreateScopeRequest {
        request_id: request_id(40),
        ..declaring(&workspace, "brand:new")
    };
    let update = v1::UpdateScopeRequest {
        scope: Some(v1::Scope {
            workspace: workspace.clone(),
            name: n.scope.clone(),
            description: "Reads orders".to_owned(),
            ..Default::default()
        }),
        request_id: request_id(41),
        ..Default::default()
    };
    let delete = v1::DeleteScopeRequest {
        workspace: workspace.clone(),
        name: n.spare_scope.clone(),
        request_id: request_id(42),
        ..Default::default()
    };
    let get = v1::GetScopeRequest {
        workspace: workspace.clone(),
        name: n.scope.clone(),
    };
    let list = v1::ListScopesRequest {
        workspace,
        ..Default::default()
    };
    vec![
        Spoil::new(
            "Directory/CreateScope",
            DIRECTORY,
            Foreign::NotFound,
            create,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad("scope", |r| r.scope = None)
        .bad("scope.name", |r| {
            r.scope.as_mut().unwrap().name = "claviger:mine".to_owned()
        })
        .bad("scope.name", |r| {
            r.scope.as_mut().unwrap().name = "all:*".to_owned()
        })
        .bad("scope.name", |r| {
            r.scope.as_mut().unwrap().name = "x".repeat(129)
        })
        .bad("scope.display_name", |r| {
            r.scope.as_mut().unwrap().display_name = CONTROL.to_owned()
        })
        .bad("scope.description", |r| {
            r.scope.as_mut().unwrap().description = "x".repeat(1_025)
        })
        .bad("scope.presentations[0]", |r| {
            r.scope.as_mut().unwrap().presentations = vec![99]
        })
        .bad("scope.implies[0]", |r| {
            r.scope.as_mut().unwrap().implies = vec!["orders:read".to_owned()]
        })
        .bad("scope.implies[0]", |r| {
            r.scope.as_mut().unwrap().implies = vec!["claviger:nothing".to_owned()]
        })
        .done(),
        Spoil::new("Directory/GetScope", READ, Foreign::NotFound, get)
            .bad("name", |r| r.name = "a b".to_owned())
            .bad("workspace", |r| r.workspace = "A".to_owned())
            .done(),
        Spoil::new("Directory/ListScopes", READ, Foreign::NotFound, list)
            .bad("page_size", |r| r.page_size = -1)
            .bad("page_token", |r| r.page_token = "nonsense".to_owned())
            .bad("workspace", |r| r.workspace = "A".to_owned())
            .done(),
        Spoil::new(
            "Directory/UpdateScope",
            DIRECTORY,
            Foreign::NotFound,
            update,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("scope.name", |r| r.scope.as_mut().unwrap().name.clear())
        .bad("scope.description", |r| {
            r.scope.as_mut().unwrap().description = CONTROL.to_owned()
        })
        .bad("scope.implies[0]", |r| {
            r.scope.as_mut().unwrap().implies = vec!["x".to_owned()]
        })
        .bad("update_mask", |r| r.update_mask = mask(&["name"]))
        .done(),
        Spoil::new(
            "Directory/DeleteScope",
            DIRECTORY,
            Foreign::NotFound,
            delete,
        )
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("name", |r| r.name = CONTROL.to_owned())
        .bad("workspace", |r| r.workspace = "A".to_owned())
        .done(),
    ]
}
