//! Tests of the command line, and of commands against a server that answers what a test wants.

use super::io::testing::Captured;
use super::*;

mod administration;
mod coverage;
mod export;
mod fake;
mod fleet;
mod import;
mod import_formats;
mod insights;
mod login;
mod manual;
mod pages;

fn command(args: &[&str]) -> Command {
    Cli::try_parse_from(["claviger"].iter().chain(args))
        .unwrap_or_else(|e| panic!("{e}"))
        .into_command()
}

fn usage_error(args: &[&str]) -> String {
    let error = Cli::try_parse_from(["claviger"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn without_a_command_it_serves() {
    for args in [
        &["--listen=127.0.0.1:1"] as &[&str],
        &["serve", "--listen=127.0.0.1:1"],
    ] {
        let Command::Serve(args) = command(args) else {
            panic!("not serve")
        };
        assert_eq!(args.listen, "127.0.0.1:1");
    }
    assert!(matches!(command(&[]), Command::Serve(_)));
    assert!(matches!(
        command(&["check-config"]),
        Command::CheckConfig(_)
    ));
    assert!(matches!(
        command(&["recover", "--data-dir=x"]),
        Command::Recover(_)
    ));
}

#[test]
fn settings_before_another_command_are_refused_instead_of_ignored() {
    usage_error(&["--listen=127.0.0.1:1", "keys", "list"]);
}

#[test]
fn options_of_all_commands_go_before_and_after_the_last_word() {
    for args in [
        &["keys", "-o", "json", "-w", "acme", "list"] as &[&str],
        &["keys", "list", "-o", "json", "-w", "acme"],
    ] {
        let Command::Client(ClientCommand::Keys(keys)) = command(args) else {
            panic!("not keys")
        };
        assert_eq!(keys.common.output.output, Output::Json);
        assert_eq!(keys.workspace.workspace, "acme");
    }
}

#[test]
fn no_option_takes_a_token_as_its_value() {
    fn walk(command: &clap::Command) {
        for arg in command.get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            // What does not name a file or say what to do about tokens would show one in the process list.
            let harmless = [
                "key-id",
                "page-token",
                "token-only",
                "with-tokens",
                "token-prefix",
                "secret-storage",
                "key-scheme",
                "key-header",
                "key-creation",
            ];
            let secret =
                name.contains("token") || name.contains("credential") || name.contains("key");
            assert!(
                !secret || name.ends_with("-file") || harmless.contains(&name),
                "--{name}"
            );
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn every_help_names_its_parts() {
    fn walk(path: &str, command: &mut clap::Command) {
        let help = command.render_long_help().to_string();
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{path} {}", arg.get_id());
        }
        assert!(command.get_about().is_some(), "{path}");
        let generated = path.contains(" help");
        assert!(generated || help.contains("Exit codes:"), "{path}");
        for sub in command.get_subcommands_mut() {
            walk(&format!("{path} {}", sub.get_name()), sub);
        }
    }
    let mut command = definition();
    command.build();
    walk("claviger", &mut command);
    let help = command.render_help().to_string();
    assert!(
        help.contains("Exit codes:\n  0  done") && help.contains("CLAVIGER_ROOT_KEY "),
        "{help}"
    );
}

#[test]
fn wrong_settings_are_wrong_usage_wherever_they_are_read() {
    let Command::Serve(args) = command(&["serve", "--listen=x", "--log-format=y"]) else {
        panic!("not serve")
    };
    let wrong = args.validate_with(|_| None).unwrap_err();
    let mut captured = Captured::default();
    assert_eq!(fail(&wrong, &mut captured.io()), Exit::Usage);
    assert_eq!(captured.err().matches("error: `--l").count(), 2);
    let mut captured = Captured::default();
    let other = std::io::Error::other("the disk is full");
    assert_eq!(fail(&other, &mut captured.io()), Exit::Failed);
    assert_eq!(captured.err(), "error: the disk is full\n");
}

#[test]
fn a_service_with_wrong_settings_is_not_started_again() {
    let unit = include_str!("../../deploy/claviger.service");
    assert!(unit.contains(&format!(
        "\nRestartPreventExitStatus={}\n",
        Exit::Usage as u8
    )));
}

#[test]
fn check_config_says_yes_or_everything_that_is_wrong() {
    let check = |args: &[&str]| {
        let Command::CheckConfig(args) = command(args) else {
            panic!("not check-config")
        };
        let mut captured = Captured::default();
        let exit = check_config(args, &mut captured.io());
        (exit, captured.out(), captured.err())
    };
    let (exit, out, _) = check(&["check-config"]);
    assert_eq!((exit, out.as_str()), (Exit::Ok, "configuration is valid\n"));
    let (exit, out, err) = check(&["check-config", "--listen=x", "--log-format=y"]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.lines()
            .all(|line| line.starts_with("error: `--log") || line.starts_with("error: `--listen"))
    );
}

#[test]
fn whoever_takes_a_request_id_is_told_to_repeat_it_and_nobody_else() {
    for args in coverage::COMMANDS {
        let mut words = args.to_vec();
        words.push("--request-id=00000000-0000-4000-8000-000000000000");
        let takes = Cli::try_parse_from(["claviger"].iter().chain(&words)).is_ok();
        let Command::Client(client) = command(args) else {
            panic!("{args:?}")
        };
        assert_eq!(client.is_repeatable(), takes, "{args:?}");
    }
    for (repeatable, hint) in [(true, true), (false, false)] {
        let mut captured = Captured::default();
        let lost = Failure::from(tonic::Status::cancelled("gone"));
        let lost = if repeatable {
            lost.of_repeatable()
        } else {
            lost
        };
        assert_eq!(lost.report(&mut captured.io()), Exit::Unreachable);
        assert_eq!(captured.err().contains("`--request-id`"), hint);
    }
    let mut captured = Captured::default();
    let said = Failure::from(tonic::Status::not_found("there is no such key"));
    said.of_repeatable().report(&mut captured.io());
    assert_eq!(captured.err(), "error: there is no such key\n");
}
