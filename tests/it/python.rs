//! The Python example, run as it is.

use std::process::Command;

use crate::examples::walks_a_key_through_its_life;
use crate::harness::{repository, tool};

#[test]
fn the_python_example_makes_checks_disables_and_deletes_a_key() {
    let mut python = Command::new(tool("python"));
    python.arg(repository().join("examples/python/check.py"));
    walks_a_key_through_its_life(python);
}
