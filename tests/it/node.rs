//! The Node example, run as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::examples::walks_a_key_through_its_life;
use crate::harness::{repository, tools};

#[test]
fn the_node_example_makes_checks_disables_and_deletes_a_key() {
    // As in the repository, with the packages where `npm ci` would put them.
    let scratch = tempfile::tempdir().unwrap();
    let example = scratch.path().join("examples/node");
    fs::create_dir_all(&example).unwrap();
    let source = repository().join("examples/node/check.mjs");
    fs::copy(source, example.join("check.mjs")).unwrap();
    let packages = tools("node/node_modules");
    symlink(packages, example.join("node_modules")).unwrap();
    symlink(repository().join("proto"), scratch.path().join("proto")).unwrap();

    let mut node = Command::new("node");
    node.arg(example.join("check.mjs"));
    walks_a_key_through_its_life(node);
}
