//! `docs/parity.md` names tests that there are, and all of those that follow a document.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::harness::repository;

/// The tests of this binary, by its own account.
fn tests() -> BTreeSet<String> {
    let listed = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}

/// What a text names in backticks that is a path of Rust's.
fn named(markdown: &str) -> BTreeSet<String> {
    let quoted = markdown.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.contains("::") && !name.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_the_table_of_parity_names_exists_and_every_walk_is_in_it() {
    let markdown = fs::read_to_string(repository().join("docs/parity.md")).unwrap();
    let (named, tests) = (named(&markdown), tests());
    let missing: Vec<_> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "named, and not there: {missing:#?}");
    let walks = tests.iter().filter(|test| test.starts_with("seeds::"));
    let left_out: Vec<_> = walks.filter(|test| !named.contains(*test)).collect();
    assert!(left_out.is_empty(), "there, and not named: {left_out:#?}");
    assert!(named.len() > 30, "{named:#?}");
}

#[test]
fn a_test_is_named_in_backticks_by_its_path() {
    let markdown = "| \"A sentence\" | `UpdateKey` | `seeds::a::b`, `api::c` |\n`two words::here`";
    let expected = ["api::c", "seeds::a::b"].map(str::to_owned);
    assert_eq!(named(markdown), BTreeSet::from(expected));
}
