//! The `claviger` program: arguments in, exit code out.

fn main() {}
