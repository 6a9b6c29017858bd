//! Completion and manual pages.

use std::process::{Command as Process, Stdio};

use super::super::io::testing::Captured;
use super::super::{Command, Exit, run_client};
use super::command;

async fn printed(args: &[&str]) -> String {
    let Command::Client(client) = command(args) else {
        panic!("not a client")
    };
    let mut captured = Captured::default();
    let exit = run_client(client, &mut captured.io()).await;
    assert_eq!(exit, Exit::Ok, "{}", captured.err());
    captured.out()
}

#[tokio::test]
async fn bash_completes_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("claviger");
    std::fs::write(&script, printed(&["completion", "bash"]).await).unwrap();
    let bash = |source: &str| {
        let output = Process::new("bash")
            .args(["--norc", "--noprofile"])
            .args(if source.is_empty() {
                vec!["-n", script.to_str().unwrap()]
            } else {
                vec!["-c", source]
            })
            .env("SCRIPT", &script)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    bash("");
    let complete = |words: &str, last: &str| {
        let count = words.split(' ').count();
        bash(&format!(
            ". \"$SCRIPT\"; COMP_WORDS=({words} {last}); COMP_CWORD={count}; \
             _claviger claviger '{last}' ''; echo \"${{COMPREPLY[*]}}\""
        ))
    };
    assert_eq!(complete("claviger keys", "dis"), "disable\n");
    assert_eq!(complete("claviger", "imp"), "import\n");
    assert_eq!(complete("claviger import", "--dry"), "--dry-run\n");
}

#[tokio::test]
async fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completion", shell]).await;
        assert!(
            script.contains("claviger") && script.contains("regenerate"),
            "{shell}"
        );
    }
}

#[tokio::test]
async fn the_manual_is_there_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let folder = format!("--dir={}", dir.path().display());
    assert_eq!(printed(&["man", &folder]).await, "");
    let mut pages: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in ["claviger.1", "claviger-import.1", "claviger-keys-create.1"] {
        assert!(pages.iter().any(|p| p == page), "{pages:?}");
    }
    assert!(!pages.iter().any(|p| p.contains("help")), "{pages:?}");
    let page = printed(&["man"]).await;
    for section in [
        ".SH NAME",
        ".SH SYNOPSIS",
        ".SH DESCRIPTION",
        ".SH OPTIONS",
        ".SH SUBCOMMANDS",
        "Exit codes:",
    ] {
        assert!(page.contains(section), "{section}");
    }
}

#[tokio::test]
async fn a_formatter_that_is_there_renders_the_manual() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("claviger.1");
    let page = printed(&["man"]).await;
    std::fs::write(&file, &page).unwrap();
    for (program, args) in [
        ("mandoc", vec!["-T", "ascii"]),
        ("groff", vec!["-man", "-T", "ascii"]),
        ("man", vec!["-l"]),
    ] {
        let rendered = Process::new(program)
            .args(args)
            .arg(&file)
            .stderr(Stdio::null())
            .output();
        // A machine has one of them, or none; the sections are checked either way.
        let Some(output) = rendered
            .ok()
            .filter(|output| output.status.success() && !output.stdout.is_empty())
        else {
            continue;
        };
        // Bold letters are typed twice: letter, backspace, letter.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let letters: Vec<_> = text.chars().collect();
        let plain = letters
            .iter()
            .enumerate()
            .filter(|(n, c)| **c != '\u{8}' && letters.get(n + 1) != Some(&'\u{8}'));
        let text: String = plain.map(|(_, c)| c).collect();
        assert!(
            text.contains("claviger") && text.contains("SUBCOMMANDS"),
            "{program}: {text}"
        );
    }
    assert!(page.contains("import"), "{page}");
}
