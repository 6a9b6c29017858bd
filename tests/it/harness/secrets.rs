//! A watch over tokens: each one a test gets or makes is registered, and looked for in whatever a process left behind.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

/// Windows of this many bytes lead to the tokens that begin with them.
const WINDOW: usize = 8;

static TOKENS: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Registers a token; from now on no log, file or database may hold it.
pub(crate) fn register(token: &str) {
    assert!(token.len() >= 16, "too short to be looked for");
    let mut tokens = TOKENS.lock().unwrap_or_else(|e| e.into_inner());
    tokens
        .get_or_insert_with(HashSet::new)
        .insert(token.to_owned());
}

/// Every place below a folder where a registered token stands, or anything of a generated token's shape, or the bare SHA-256
/// of a registered one (a digest that is not keyed would let a
/// thief of the database try candidates). Where a token is meant to be, `bootstrap-token`, is left out.
pub(crate) fn scan(root: &Path) -> Vec<String> {
    scan_all(&[root.to_owned()])
}

/// The same below several folders, or in several files.
pub(crate) fn scan_all(roots: &[PathBuf]) -> Vec<String> {
    let mut needles: HashMap<[u8; WINDOW], Vec<(Vec<u8>, &str)>> = HashMap::new();
    {
        let tokens = TOKENS.lock().unwrap_or_else(|e| e.into_inner());
        for token in tokens.iter().flatten() {
            let digest = Sha256::digest(token.as_bytes()).to_vec();
            let hex = digest.iter().fold(String::new(), |mut hex, b| {
                let _ = write!(hex, "{b:02x}");
                hex
            });
            for (needle, what) in [
                (token.as_bytes().to_vec(), "a token"),
                (digest, "the digest of a token"),
                (hex.into_bytes(), "the digest of a token in hexadecimal"),
            ] {
                let start = needle.first_chunk().copied().unwrap();
                needles.entry(start).or_default().push((needle, what));
            }
        }
    }
    // Most places are passed over by a look at two bytes: a database cluster has tens of millions.
    let pair = |start: &[u8; WINDOW]| usize::from(u16::from_le_bytes([start[0], start[1]]));
    let mut begins = vec![false; 1 << 16];
    for start in needles.keys().chain([b"clv_...."]) {
        begins[pair(start)] = true;
    }
    let mut found = Vec::new();
    let mut look = |path: &Path, bytes: &[u8]| {
        for (at, start) in bytes.array_windows().enumerate() {
            if !begins[pair(start)] {
                continue;
            }
            if is_generated(&bytes[at..]) {
                found.push(format!(
                    "a generated token in {} at byte {at}",
                    path.display()
                ));
            }
            for (needle, what) in needles.get(start).into_iter().flatten() {
                if bytes[at..].starts_with(needle) {
                    found.push(format!("{what} in {} at byte {at}", path.display()));
                }
            }
        }
    };
    for root in roots {
        visit(root, &mut look);
    }
    found
}

/// Does a token with the default prefix begin here? So none is missed that no test has registered.
fn is_generated(bytes: &[u8]) -> bool {
    let body = bytes.strip_prefix(b"clv_").and_then(|rest| rest.get(..48));
    body.is_some_and(|body| {
        body.iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

fn visit(path: &Path, with: &mut impl FnMut(&Path, &[u8])) {
    if path.file_name().is_some_and(|n| n == "bootstrap-token") {
        return;
    }
    let Ok(kind) = path.symlink_metadata() else {
        return; // a journal that went away meanwhile
    };
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            visit(&entry.unwrap().path(), with);
        }
    } else if kind.is_file()
        && let Ok(bytes) = std::fs::read(path)
    {
        with(path, &bytes);
    }
}

#[test]
fn the_watch_over_tokens_sees_one_in_a_file_and_spares_the_bootstrap_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = "watch_5fK2pQ9xZr7LmN3vB8tY1wHs";
    register(token);
    std::fs::write(dir.path().join("bootstrap-token"), token).unwrap();
    std::fs::write(dir.path().join("clean"), "nothing here").unwrap();
    assert_eq!(scan(dir.path()), Vec::<String>::new());

    std::fs::create_dir(dir.path().join("deep")).unwrap();
    std::fs::write(dir.path().join("deep/log"), format!("..{token}..")).unwrap();
    std::fs::write(dir.path().join("deep/db"), Sha256::digest(token)).unwrap();
    let generated = format!("clv_{}", "aB3_-x".repeat(8));
    std::fs::write(dir.path().join("deep/unregistered"), generated).unwrap();
    let found = scan(dir.path());
    assert_eq!(found.len(), 3, "{found:?}");
}
