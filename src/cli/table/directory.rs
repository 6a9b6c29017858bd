//! Workspaces, subscriptions and scopes for people.

use comfy_table::Cell;

use super::{Look, NONE, clean, details, in_shadow, lines, list, or_none, pairs};
use crate::cli::names;
use crate::grpc::proto::v1;

fn switched(enabled: Option<bool>) -> String {
    match enabled {
        Some(false) => "DISABLED".to_owned(),
        _ => "ENABLED".to_owned(),
    }
}

pub(in crate::cli) fn workspaces(list: &[v1::Workspace], look: Look<'_>) -> String {
    let mut table = look.table(["STATE", "ID", "NAME", "TOKENS", "CREATED"], &[0, 1]);
    for workspace in list {
        let storage = workspace.settings.as_ref().map_or(0, |s| s.secret_storage);
        table.add_row([
            look.state(switched(workspace.enabled)),
            Cell::new(clean(&workspace.id)),
            Cell::new(or_none(&workspace.display_name)),
            Cell::new(if storage == i32::from(v1::SecretStorage::Recoverable) {
                "recoverable"
            } else {
                "hashed"
            }),
            Cell::new(look.time(workspace.create_time.as_ref(), NONE)),
        ]);
    }
    lines(&table, look)
}

/// Which requests of a workspace are logged.
fn request_log(settings: &v1::WorkspaceSettings) -> String {
    let sampled = v1::RequestLog::DeniedAndSampled;
    match v1::RequestLog::try_from(settings.request_log) {
        Ok(v1::RequestLog::Unspecified) | Ok(v1::RequestLog::DeniedAndSampled) => {
            let share = settings
                .request_log_sample
                .map_or_else(|| "default (0.01)".to_owned(), |share| share.to_string());
            format!("{}, {share}", names::request_log(sampled.into()))
        }
        _ => names::request_log(settings.request_log),
    }
}

/// A place for a credential, as it is typed.
pub(super) fn place(place: &v1::CredentialLocation) -> String {
    use v1::credential_location::Location;
    match &place.location {
        Some(Location::Header(name)) => format!("header:{name}"),
        Some(Location::Query(name)) => format!("query:{name}"),
        Some(Location::Bearer(_)) => "bearer".to_owned(),
        Some(Location::Basic(_)) => "basic".to_owned(),
        None => NONE.to_owned(),
    }
}

/// One workspace in full.
pub(in crate::cli) fn workspace(workspace: &v1::Workspace, look: Look<'_>) -> String {
    let settings = workspace.settings.clone().unwrap_or_default();
    let places: Vec<_> = settings.locations.iter().map(place).collect();
    let default = |items: Vec<String>| {
        if items.is_empty() {
            "default".to_owned()
        } else {
            list(&items)
        }
    };
    let guard = settings
        .rotation_guard
        .and_then(|d| std::time::Duration::try_from(d).ok());
    details(&[
        ("id", clean(&workspace.id)),
        ("name", or_none(&workspace.display_name)),
        ("state", switched(workspace.enabled)),
        ("credentials in", default(places)),
        (
            "presentations",
            default(
                settings
                    .presentations
                    .iter()
                    .map(|p| names::presentation(*p))
                    .collect(),
            ),
        ),
        (
            "no scope asked",
            match settings.undemanded_scopes {
                0 => "default".to_owned(),
                set => names::undemanded(set),
            },
        ),
        (
            "tokens",
            match settings.secret_storage {
                0 => "HASHED".to_owned(),
                set => names::storage(set),
            },
        ),
        (
            "slots",
            match settings.slots {
                0 => "ONE".to_owned(),
                set => names::slots(set),
            },
        ),
        (
            "rotation guard",
            guard.map_or_else(
                || "default (1day)".to_owned(),
                |d| humantime::format_duration(d).to_string(),
            ),
        ),
        (
            "token prefix",
            settings
                .token_prefix
                .as_deref()
                .map_or_else(|| "default (clv)".to_owned(), or_none),
        ),
        ("request log", request_log(&settings)),
        (
            "log kept for",
            span(settings.request_log_retention.as_ref(), "default (30days)"),
        ),
        (
            "usage kept for",
            span(settings.usage_retention.as_ref(), "default (400days)"),
        ),
        (
            "in shadow",
            settings
                .enforcement
                .as_ref()
                .map(in_shadow)
                .filter(|shadow| !shadow.is_empty())
                .map_or_else(|| NONE.to_owned(), |shadow| shadow.join(", ")),
        ),
        (
            "key scheme",
            match (settings.key_scheme, settings.key_scheme_time.as_ref()) {
                (0, _) => "ON".to_owned(),
                (set, None) => names::key_scheme(set),
                (set, on) => format!("{} since {}", names::key_scheme(set), look.both(on, NONE)),
            },
        ),
        (
            "no route takes it",
            match settings.unmatched_requests {
                0 => "default".to_owned(),
                set => names::unmatched(set),
            },
        ),
        (
            "keys made by",
            match settings.key_creation {
                0 => "KEYS_WRITE".to_owned(),
                set => names::key_creation(set),
            },
        ),
        (
            "default lifetime",
            span(settings.default_lifetime.as_ref(), "the longest"),
        ),
        (
            "longest lifetime",
            span(settings.longest_lifetime.as_ref(), "any"),
        ),
        ("rotation age", span(settings.rotation_age.as_ref(), "any")),
        (
            "on a leak",
            match settings.leak_policy {
                0 => "NOTIFY".to_owned(),
                set => names::leak_policy(set),
            },
        ),
        ("leak grace", span(settings.leak_grace.as_ref(), NONE)),
        (
            "provisioning",
            settings.provisioning.map_or_else(
                || NONE.to_owned(),
                |p| format!("a key with every subscription: {}", list(&p.scopes)),
            ),
        ),
        ("created", look.both(workspace.create_time.as_ref(), NONE)),
        ("changed", look.both(workspace.update_time.as_ref(), NONE)),
        ("etag", or_none(&workspace.etag)),
    ])
}

fn span(span: Option<&prost_types::Duration>, none: &str) -> String {
    let span = span.and_then(|d| std::time::Duration::try_from(*d).ok());
    span.map_or_else(
        || none.to_owned(),
        |d| humantime::format_duration(d).to_string(),
    )
}

/// Keys that need attention, each with what there is about it.
pub(in crate::cli) fn hygiene(keys: &[v1::KeyHygiene], look: Look<'_>) -> String {
    let mut lines = Vec::new();
    for needs in keys {
        let key = needs.key.clone().unwrap_or_default();
        lines.push(format!("{}  {}", clean(&key.id), clean(&key.display_name)));
        let mut rows = Vec::new();
        for finding in &needs.findings {
            let kind = names::finding(finding.kind);
            rows.push((format!("  {kind:<22}"), clean(&finding.message)));
        }
        let safe: Vec<_> = needs.safe_slots.iter().map(|s| names::slot(*s)).collect();
        if !safe.is_empty() {
            let what = "can be regenerated now:";
            rows.push((format!("  {what}"), list(&safe)));
        }
        if !rows.is_empty() {
            lines.push(pairs(rows, look));
        }
    }
    lines.join("\n")
}

pub(in crate::cli) fn subscriptions(list: &[v1::Subscription], look: Look<'_>) -> String {
    let mut table = look.table(["STATE", "ID", "NAME", "WORKSPACE", "CREATED"], &[0, 1]);
    for subscription in list {
        table.add_row([
            look.state(switched(subscription.enabled)),
            Cell::new(clean(&subscription.id)),
            Cell::new(or_none(&subscription.display_name)),
            Cell::new(clean(&subscription.workspace)),
            Cell::new(look.time(subscription.create_time.as_ref(), NONE)),
        ]);
    }
    lines(&table, look)
}

pub(in crate::cli) fn principals(principals: &[v1::Principal], look: Look<'_>) -> String {
    let header = ["STATE", "ID", "NAME", "SCOPES", "WORKSPACE", "CHANGED"];
    let mut table = look.table(header, &[0, 1]);
    for principal in principals {
        table.add_row([
            look.state(switched(principal.enabled)),
            Cell::new(clean(&principal.id)),
            Cell::new(or_none(&principal.display_name)),
            Cell::new(list(&principal.scopes)),
            Cell::new(clean(&principal.workspace)),
            Cell::new(look.time(principal.update_time.as_ref(), NONE)),
        ]);
    }
    lines(&table, look)
}

pub(in crate::cli) fn scopes(scopes: &[v1::Scope], look: Look<'_>) -> String {
    let header = [
        "SCOPE",
        "NAME",
        "WORKSPACE",
        "ALSO ACCEPTS",
        "IMPLIES",
        "CREATED",
    ];
    let mut table = look.table(header, &[0]);
    for scope in scopes {
        let accepts: Vec<_> = scope
            .presentations
            .iter()
            .map(|p| names::presentation(*p))
            .collect();
        table.add_row([
            Cell::new(clean(&scope.name)),
            Cell::new(or_none(&scope.display_name)),
            Cell::new(clean(&scope.workspace)),
            Cell::new(list(&accepts)),
            Cell::new(list(&scope.implies)),
            Cell::new(look.time(scope.create_time.as_ref(), NONE)),
        ]);
    }
    lines(&table, look)
}

/// Profiles: name, endpoint, and whether it is the current one.
pub(in crate::cli) fn profiles(list: &[(&str, &str, bool)], look: Look<'_>) -> String {
    let mut table = look.table(["CURRENT", "NAME", "ENDPOINT"], &[0, 1, 2]);
    for (name, endpoint, current) in list {
        table.add_row([
            Cell::new(if *current { "*" } else { "" }),
            Cell::new(clean(name)),
            Cell::new(clean(endpoint)),
        ]);
    }
    lines(&table, look)
}
