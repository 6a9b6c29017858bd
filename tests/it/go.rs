//! The Go example, as `make tools` has built it.

use std::fs;
use std::process::Command;

use crate::examples::walks_a_key_through_its_life;
use crate::harness::{repository, tool, tools};

#[test]
fn the_go_example_makes_checks_disables_and_deletes_a_key() {
    for file in ["main.go", "go.mod", "go.sum", "buf.gen.yaml"] {
        let now = fs::read(repository().join("examples/go").join(file)).unwrap();
        let built = fs::read(tools("go-example/examples/go").join(file)).unwrap();
        assert!(now == built, "`{file}` was changed: run `make tools`");
    }
    walks_a_key_through_its_life(Command::new(tool("go-example")));
}
