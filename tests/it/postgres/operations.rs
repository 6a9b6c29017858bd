//! What `docs/operations.md` and the README tell an operator to look at and to type is there.

use std::collections::BTreeSet;
use std::process::Command;

use claviger::config::settings_table;

use super::Stage;
use crate::harness::{BINARY, Target, get, repository, sooner_or_later};

fn documents() -> [(&'static str, String); 2] {
    ["docs/operations.md", "README.md"].map(|name| {
        let text = std::fs::read_to_string(repository().join(name)).unwrap();
        (name, text)
    })
}

/// The longest pieces that begin so and go on with such characters.
fn pieces(text: &str, begin: &str, goes_on: fn(char) -> bool) -> BTreeSet<String> {
    let found = text.split(begin).skip(1).map(|rest| {
        let more: String = rest.chars().take_while(|c| goes_on(*c)).collect();
        format!("{begin}{}", more.trim_end_matches('_'))
    });
    found.collect()
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

fn is_upper(c: char) -> bool {
    c.is_ascii_uppercase() || c == '_'
}

#[test]
fn every_metric_that_the_documents_name_is_served() {
    let stage = Stage::set();
    let process = stage.process("one");
    // How stale it may be it says from its first look on.
    let served = sooner_or_later(|| {
        let served = get(&Target::Tcp(process.http), "/metrics", &[]).text();
        if served.contains("claviger_feed_staleness_seconds") {
            Ok(served)
        } else {
            Err(served)
        }
    });
    let families: BTreeSet<&str> = served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let is_served = |name: &str| {
        let of_parts = ["_total", "_bucket", "_sum", "_count"].map(|part| name.strip_suffix(part));
        families.contains(name) || of_parts.into_iter().flatten().any(|n| families.contains(n))
    };
    for (document, text) in documents() {
        let named = pieces(&text, "claviger_", |c| c.is_ascii_lowercase() || c == '_');
        assert!(!named.is_empty());
        for name in named {
            assert!(is_served(&name), "`{name}` of {document}: {families:?}");
        }
    }
    // And what alerts compare is one of the values there are.
    for label in ["kind=\"decision\"", "reason=\"OK\""] {
        assert!(served.contains(label), "{label}");
    }
}

/// The words of a command up to its first argument.
fn words(command: &str) -> Vec<&str> {
    let is_word = |word: &&str| {
        let mut letters = word.chars();
        letters.all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    };
    command.split_whitespace().take_while(is_word).collect()
}

#[test]
fn every_command_and_setting_that_the_operators_document_names_is_there() {
    let [(_, text), _] = documents();
    let inline = text.split('`').skip(1).step_by(2);
    let mut named: BTreeSet<&str> = inline.filter_map(|c| c.strip_prefix("claviger ")).collect();
    named.extend(text.lines().filter_map(|l| l.strip_prefix("claviger ")));
    assert!(named.len() > 10, "{named:?}");
    let table = settings_table();
    for command in named {
        let words = words(command);
        let help = Command::new(BINARY)
            .args(&words)
            .arg("--help")
            .env_clear()
            .output()
            .unwrap();
        assert!(help.status.success(), "`claviger {command}`");
        let help = String::from_utf8(help.stdout).unwrap();
        let of_it = words.iter().all(|word| help.contains(word));
        assert!(of_it, "`claviger {command}`: {help}");
        for flag in pieces(command, "--", is_lower) {
            assert!(help.contains(&flag), "`{flag}` of `claviger {command}`");
        }
    }
    let settings = pieces(&text, "`--", is_lower);
    for setting in settings.union(&pieces(&text, "CLAVIGER_", is_upper)) {
        let setting = setting.trim_start_matches('`');
        let row = table
            .lines()
            .any(|row| row.contains(&format!("`{setting}`")));
        assert!(row, "`{setting}` is no setting");
    }
}
