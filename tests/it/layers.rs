//! The layers hold: every source file names only what its layer may name. The rules are the map in `ARCHITECTURE.md`.

mod scan;

use std::fmt;
use std::path::{Path, PathBuf};

use scan::{paths, tokens};

/// A top-level module, and what it may name of the crate: modules, or parts of modules. Each names only itself and what
/// stands above it in this table, so there are no circles.
const LAYERS: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("index", &["domain"]),
    ("decide", &["domain", "index"]),
    ("app", &["domain", "index", "decide"]),
    ("config", &["domain"]),
    ("store", &["domain", "app::ports"]),
    ("feed", &["domain", "index", "app::ports"]),
    ("record", &["domain", "index", "app"]),
    ("fleet", &["domain", "index", "app"]),
    ("snapshot", &["domain", "app"]),
    ("deliver", &["domain", "app"]),
    ("grpc", &["domain", "index", "decide", "app"]),
    ("telemetry", &["domain", "index", "app"]),
    ("http", &["telemetry"]),
    ("client", &["grpc::proto"]),
    ("cli", &["domain", "config", "grpc::proto"]),
    (
        "server",
        &[
            "domain",
            "index",
            "app",
            "config",
            "store",
            "feed",
            "record",
            "fleet",
            "snapshot",
            "deliver",
            "grpc",
            "telemetry",
            "http",
        ],
    ),
];
/// What `main.rs` may name.
const MAIN: [&str; 4] = ["cli", "config", "server", "telemetry"];
/// The layers that may one day run inside other processes: no waiting, no I/O.
const PURE: [&str; 3] = ["domain", "index", "decide"];

/// Crates that stay in some layers: by the beginning of their name.
const CRATES: [(&[&str], &[&str]); 10] = [
    (&["sea_orm", "sqlx"], &["store"]),
    (&["tonic", "prost"], &["grpc", "client", "cli", "server"]),
    (
        &["hyper", "http_body", "tower"],
        &["grpc", "client", "cli", "server", "http", "deliver"],
    ),
    (&["tokio_rustls", "rustls", "webpki_roots"], &["deliver"]),
    (
        &["tokio"],
        &[
            "app", "store", "feed", "record", "fleet", "snapshot", "deliver", "grpc", "http",
            "client", "cli", "server", "main",
        ],
    ),
    (&["prometheus_client"], &["telemetry"]),
    (&["tracing_subscriber"], &["telemetry", "config"]),
    (&["clap"], &["config", "cli"]),
    (&["comfy_table", "console", "csv", "indicatif"], &["cli"]),
    (&["rand"], &["server"]),
];
/// Parts of other crates that stay in some layers.
const PATHS: [(&str, &[&str]); 5] = [
    ("std::env", &["config", "cli"]),
    ("tokio::spawn", &[]),
    ("tokio::task::spawn", &[]),
    ("std::thread::spawn", &["cli"]),
    ("std::time::SystemTime", &["server", "cli"]),
];
/// What one file alone may name besides: the store's tests are told by a variable which server to run on.
const EXCEPTIONS: [(&str, &str); 1] = [("src/store/tests/home.rs", "std::env")];
/// Parts of the standard library that the pure layers do without.
const IMPURE: [&str; 6] = [
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::sync::mpsc",
];
/// Words that must not stand in a layer.
const WORDS: [(&str, &[&str]); 5] = [
    ("async", &PURE),
    ("await", &PURE),
    ("Mutex", &["domain", "decide"]),
    ("RwLock", &PURE),
    ("unsafe", &PURE),
];

/// Something that a file must not name.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

#[test]
fn every_file_names_only_what_its_layer_may() {
    let mut violations = Vec::new();
    let mut seen = Vec::new();
    for (file, text) in sources("src") {
        let layer = layer_of(&file);
        violations.extend(check(&file, &text));
        if !seen.contains(&layer) {
            seen.push(layer);
        }
    }
    let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    for (layer, _) in LAYERS {
        assert!(seen.iter().any(|s| s == layer), "there is no `src/{layer}`");
    }
}

#[test]
fn the_rules_have_no_circles() {
    for (i, (layer, may)) in LAYERS.iter().enumerate() {
        for named in *may {
            let module = named.split("::").next();
            assert!(
                LAYERS.iter().take(i).any(|(name, _)| Some(*name) == module),
                "`{layer}` may name `{named}`, which does not stand above it"
            );
        }
    }
}

#[test]
fn every_rust_file_begins_by_saying_what_it_is_for() {
    let all: Vec<_> = ["src", "tests", "benches", "build.rs"]
        .into_iter()
        .flat_map(sources)
        .collect();
    assert!(all.len() > 100, "found only {} files", all.len());
    for (file, text) in all {
        assert!(
            text.starts_with("//! "),
            "{file}:1: does not begin with `//!`"
        );
    }
}

/// The planted violations: each is found, at its line.
#[test]
fn a_planted_violation_is_found_with_file_and_line() {
    let planted = [
        ("src/domain/key.rs", "use crate::index::Index;"),
        ("src/index/mod.rs", "use crate::decide::Verdict;"),
        ("src/decide/mod.rs", "use crate::app::Core;"),
        ("src/app/mutate.rs", "use crate::store::SqlStore;"),
        (
            "src/app/mutate.rs",
            "use crate::{domain::id, grpc::status};",
        ),
        ("src/app/mutate.rs", "use crate::{domain::{id, key}, feed};"),
        ("src/app/mod.rs", "use super::server::App;"),
        ("src/app/keys/mod.rs", "use super::super::http::Pages;"),
        (
            "src/app/page.rs",
            "mod tests { use super::super::super::cli; }",
        ),
        (
            "src/app/page.rs",
            "fn f() -> crate::record::Late { todo!() }",
        ),
        ("src/store/mod.rs", "use crate::app::Core;"),
        ("src/store/mod.rs", "use crate::feed::Follower;"),
        ("src/feed/mod.rs", "use crate::app::{self, ports};"),
        ("src/grpc/authorize.rs", "use crate::feed::Follower;"),
        ("src/grpc/guard.rs", "let _ = crate :: store :: SqlStore;"),
        ("src/cli/mod.rs", "use crate::grpc::guard::Guard;"),
        ("src/client/ask.rs", "use crate::domain::decision::Reason;"),
        ("src/telemetry.rs", "use crate::grpc::status;"),
        ("src/main.rs", "use claviger::store::SqlStore;"),
        ("src/app/mod.rs", "use sea_orm::DbErr;"),
        ("src/app/mod.rs", "use tonic::Status;"),
        ("src/telemetry.rs", "use ::tonic::Code;"),
        ("src/telemetry.rs", "let code = ::tonic::Code::Ok;"),
        ("src/feed/mod.rs", "#[derive(prost::Message)] struct M;"),
        ("src/feed/mod.rs", "use sea_orm_migration as m;"),
        ("src/domain/key.rs", "#[tokio::test] fn t() {}"),
        ("src/domain/key.rs", "async fn f() {}"),
        ("src/decide/mod.rs", "use std::sync::{Arc, Mutex};"),
        ("src/decide/mod.rs", "use std::{fmt, fs};"),
        ("src/index/mod.rs", "use std::time::SystemTime;"),
        ("src/store/mod.rs", "std::env::var(\"HOME\")"),
        ("src/server/mod.rs", "use std::{env, io};"),
        ("src/server/mod.rs", "tokio::spawn(f)"),
        ("src/grpc/guard.rs", "use tokio::{spawn, time};"),
        ("src/feed/mod.rs", "tokio::task::spawn(f)"),
        ("src/app/mod.rs", "use crate::*;"),
    ];
    for (file, line) in planted {
        let text = format!("//! A file.\n\n/* a\n\"comment */\n{line}\n");
        let found = check(file, &text);
        assert!(
            matches!(&*found, [v] if v.file == file && v.line == 5),
            "{file}: `{line}`: {found:?}"
        );
    }
}

#[test]
fn a_layer_without_rules_is_found() {
    let found = check("src/new_layer.rs", "//! A file.\n");
    assert!(matches!(&*found, [v] if v.line == 1), "{found:?}");
}

#[test]
fn what_is_allowed_or_only_talked_about_is_not_found() {
    let fine = [
        ("src/domain/key.rs", "use super::id::KeyId;"),
        ("src/decide/mod.rs", "use crate::index::{KeyRecord, View};"),
        (
            "src/store/tx.rs",
            "use super::error; use crate::app::ports::{Tx, Store};",
        ),
        ("src/store/tx.rs", "use sea_orm::sea_query::Query;"),
        (
            "src/app/mod.rs",
            "/// As [`crate::store::SqlStore`], with `tonic::Status`.\n// use crate::store;",
        ),
        (
            "src/app/mod.rs",
            "let s = \"crate::store::SqlStore tokio::spawn(\";",
        ),
        (
            "src/app/mod.rs",
            "let s = r#\"a \" tonic::Code\"#; let c = '\"'; let d = '\\''; let e: &'static str = s;",
        ),
        (
            "src/app/page.rs",
            "mod tests { use super::super::ports::Clock; }",
        ),
        (
            "src/app/page.rs",
            "pub(crate) fn f() {} pub(in crate::app) fn g() {}",
        ),
        ("src/app/mutate.rs", "core.tasks.spawn(work)"),
        (
            "src/grpc/proto.rs",
            "concat!(env!(\"OUT_DIR\"), \"/descriptor.bin\")",
        ),
        (
            "src/main.rs",
            "use claviger::server::{self, App}; #[tokio::main] async fn main() {}",
        ),
    ];
    for (file, text) in fine {
        assert_eq!(check(file, text), [], "{file}: `{text}`");
    }
}

/// All files below a folder that end in `.rs`, or the one file, with their names from the root of the package.
fn sources(below: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = vec![root.join(below)];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push((name.to_owned(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The modules that a file is in, from the root of the crate.
fn module_of(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<_> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn layer_of(file: &str) -> String {
    module_of(file).swap_remove(0)
}

/// What a file names and must not.
fn check(file: &str, text: &str) -> Vec<Violation> {
    let layer = layer_of(file);
    let mut violations = Vec::new();
    let mut found = |line: usize, what: String| {
        violations.push(Violation {
            file: file.to_owned(),
            line,
            what,
        });
    };
    let own: Vec<&str> = match LAYERS.iter().find(|(name, _)| *name == layer) {
        Some((_, may)) => may.iter().copied().chain([&*layer]).collect(),
        None if layer == "main" => MAIN.to_vec(),
        // It only says which modules there are.
        None if layer == "lib" => Vec::new(),
        None => {
            found(1, format!("`{layer}` is no layer that the rules know"));
            return violations;
        }
    };
    let within = |allowed: &[&str]| allowed.contains(&&*layer);
    let tokens = tokens(text);
    for (line, path) in paths(&tokens, &module_of(file)) {
        if let Some(inner) = path.strip_prefix("crate::") {
            if !own.iter().any(|may| begins(inner, may)) {
                found(line, format!("`{layer}` must not name `{inner}`"));
            }
            continue;
        }
        let name = path.split("::").next().unwrap_or_default();
        let of_family = |family: &&str| name == *family || begins_with_part(name, family);
        let banned_crate = CRATES
            .iter()
            .any(|(families, allowed)| families.iter().any(of_family) && !within(allowed));
        let excepted = EXCEPTIONS
            .iter()
            .any(|(in_file, path_of)| *in_file == file && begins(&path, path_of));
        let banned_path = PATHS
            .iter()
            .any(|(banned, allowed)| begins(&path, banned) && !within(allowed) && !excepted);
        let impure = within(&PURE) && IMPURE.iter().any(|banned| begins(&path, banned));
        if banned_crate || banned_path || impure {
            found(line, format!("`{layer}` must not name `{path}`"));
        }
    }
    for token in &tokens {
        let banned = |(word, layers): &(&str, &[&str])| token.text == *word && within(layers);
        if WORDS.iter().any(banned) {
            found(
                token.line,
                format!("`{layer}` must do without `{}`", token.text),
            );
        }
    }
    violations
}

/// Whether a path is another one, or leads on from it.
fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `tonic_health` is of the family of `tonic`; `tokens` is not of that of `tokio`.
fn begins_with_part(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| rest.starts_with('_'))
}
