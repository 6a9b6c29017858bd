//! The rows of `Directory` about principals.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, DIRECTORY, Foreign, Names, READ, Row, Spoil};
use super::stage::{knowing, mask, request_id, somebody};

/// In an order in which all good requests succeed.
pub(crate) fn of_principals(n: &Names) -> Vec<Row> {
    vec![get(n), list(n), upsert(n), delete(n), sync(n)]
}

fn get(n: &Names) -> Row {
    let good = v1::GetPrincipalRequest {
        workspace: n.workspace.clone(),
        id: n.principal.clone(),
    };
    Spoil::new("Directory/GetPrincipal", READ, Foreign::NotFound, good)
        .bad("id", |r| r.id.clear())
        .bad("id", |r| r.id = "a,b".to_owned())
        .bad("workspace", |r| r.workspace = "A".to_owned())
        .done()
}

fn list(n: &Names) -> Row {
    let good = v1::ListPrincipalsRequest {
        workspace: n.workspace.clone(),
        ..Default::default()
    };
    Spoil::new("Directory/ListPrincipals", READ, Foreign::NotFound, good)
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = "%%%".to_owned())
        .bad("workspace", |r| r.workspace = "A".to_owned())
        .bad("filter.name_contains", |r| {
            r.filter = Some(v1::PrincipalFilter {
                name_contains: CONTROL.to_owned(),
                enabled: None,
            })
        })
        .done()
}

fn upsert(n: &Names) -> Row {
    let good = v1::UpsertPrincipalRequest {
        request_id: request_id(50),
        ..knowing(&n.workspace, &n.principal, &["orders:read"])
    };
    fn of(r: &mut v1::UpsertPrincipalRequest) -> &mut v1::Principal {
        r.principal.as_mut().unwrap()
    }
    Spoil::new(
        "Directory/UpsertPrincipal",
        DIRECTORY,
        Foreign::NotFound,
        good,
    )
    .bad_request_id(|r| &mut r.request_id)
    .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
    .bad("principal", |r| r.principal = None)
    .bad("principal.id", |r| of(r).id.clear())
    .bad("principal.id", |r| of(r).id = "j\u{f6}".to_owned())
    .bad("principal.id", |r| of(r).id = "x".repeat(129))
    .bad("principal.display_name", |r| {
        r.update_mask = mask(&["display_name"]);
        of(r).display_name = CONTROL.to_owned();
    })
    .bad("principal.scopes[0]", |r| {
        of(r).scopes = vec!["undeclared".to_owned()]
    })
    .bad("principal.scopes[0]", |r| {
        of(r).scopes = vec!["claviger:nothing".to_owned()]
    })
    .bad("principal.scopes", |r| {
        of(r).scopes = (0..65).map(|i| format!("orders:{i}")).collect()
    })
    .bad("principal.workspace|workspace", |r| {
        of(r).workspace = "A".to_owned()
    })
    .bad("update_mask", |r| r.update_mask = mask(&["id"]))
    .done()
}

fn delete(n: &Names) -> Row {
    let good = v1::DeletePrincipalRequest {
        workspace: n.workspace.clone(),
        id: n.spare_principal.clone(),
        request_id: request_id(51),
        ..Default::default()
    };
    Spoil::new(
        "Directory/DeletePrincipal",
        DIRECTORY,
        Foreign::NotFound,
        good,
    )
    .bad_request_id(|r| &mut r.request_id)
    .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
    .bad("id", |r| r.id = CONTROL.to_owned())
    .bad("workspace", |r| r.workspace = CONTROL.to_owned())
    .done()
}

fn sync(n: &Names) -> Row {
    let good = v1::SyncPrincipalsRequest {
        workspace: n.workspace.clone(),
        principals: vec![somebody(&n.principal, &["orders:read"])],
        commit: Some(v1::SyncCommit { expected_count: 1 }),
        ..Default::default()
    };
    Spoil::new(
        "Directory/SyncPrincipals",
        DIRECTORY,
        Foreign::NotFound,
        good,
    )
    .bad("workspace", |r| r.workspace = "A".to_owned())
    .bad("mode", |r| r.mode = 99)
    .bad("principals", |r| {
        r.principals = vec![v1::Principal::default(); 1_001]
    })
    .done()
}
