//! The `claviger` command: what can be typed, and everything of it that is a client of the API.
//!
//! Invariant: results go to standard output, everything else to standard error, both through [`Io`]; a token is never an
//! argument.

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde_json::Value;

use crate::config::{ConfigError, SECRETS, ServeArgs};

mod audit;
mod backup;
mod check;
mod connect;
mod directory;
mod explain;
mod export;
mod failure;
mod fields;
mod file;
mod fleet;
mod health;
mod hygiene;
mod import;
mod input;
mod io;
mod json;
mod keys;
mod leak_rules;
mod leaks;
mod login;
mod manual;
mod names;
mod options;
mod page;
mod postbacks;
mod profile;
mod records;
mod routes;
mod table;
mod verify;

pub use audit::AuditArgs;
pub use backup::{BackupArgs, RestoreArgs};
pub use check::CheckArgs;
pub use directory::{PrincipalsArgs, ScopesArgs, SubscriptionsArgs, WorkspacesArgs};
pub use explain::ExplainArgs;
pub use export::ExportArgs;
pub use failure::Exit;
pub use fleet::FleetArgs;
pub use health::{HealthArgs, healthcheck};
pub use hygiene::HygieneArgs;
pub use import::ImportArgs;
pub use io::{Ask, Environment, Io};
pub use keys::KeysArgs;
pub use leak_rules::LeakRulesArgs;
pub use leaks::LeaksArgs;
pub use login::{LoginArgs, LogoutArgs, ProfilesArgs};
pub use manual::{CompletionArgs, ManArgs};
pub use postbacks::PostbacksArgs;
pub use records::{DecisionsArgs, ShadowArgs, UsageArgs};
pub use routes::RoutesArgs;
pub use verify::VerifyIndexArgs;

use connect::{EndpointOptions, Output, OutputOptions, TokenOptions};
use failure::{EXIT_CODES, Failure};
use table::Look;

/// The largest answer that is read: a page of 1,000 keys with every setting at its limit.
const MAX_ANSWER: usize = 128 * 1_024 * 1_024;

/// Claviger decides about API keys: keys in, allow or deny out.
#[derive(Debug, Parser)]
#[command(
    name = "claviger",
    version,
    about = "Claviger decides about API keys: keys in, allow or deny out",
    long_about = "Claviger decides about API keys: keys in, allow or deny out.\n\nWithout a command it serves, with the \
                  settings below. The other commands are clients of a server that runs.",
    args_conflicts_with_subcommands = true,
    after_help = secrets_help()
)]
pub struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve decisions and administration (what happens without a command)
    #[command(after_help = secrets_help())]
    Serve(ServeArgs),
    /// Say whether the settings are valid, and if not, everything that is wrong
    #[command(after_help = secrets_help())]
    CheckConfig(ServeArgs),
    /// Make a new administrator key, with the database and the root key at hand; the server must be stopped
    #[command(after_help = secrets_help())]
    Recover(ServeArgs),
    /// Bring the database's schema up to date and say which steps were applied; serving does it, too
    #[command(after_help = secrets_help())]
    Migrate(ServeArgs),
    /// Tell a database that was restored from a backup apart from its past; servers that run on it follow
    #[command(after_help = secrets_help())]
    AdoptRestore(ServeArgs),
    /// Wrap the database's keys with another root key, while servers run: with `CLAVIGER_ROOT_KEY`, from
    /// `CLAVIGER_ROOT_KEY_PREVIOUS`; without them a new one takes the place of the one in the data directory
    #[command(after_help = secrets_help())]
    RotateRootKey(ServeArgs),
    /// Write a backup of the whole database, which may be in use; no token is in it, and without the root key it is of no use
    #[command(after_help = secrets_help())]
    Backup(Box<BackupArgs>),
    /// Fill an empty database from a backup, with the root key at hand; the way from one kind of database to the other, too
    #[command(after_help = secrets_help())]
    Restore(Box<RestoreArgs>),
    /// Ask a server whether it serves; for containers and scripts
    Healthcheck(HealthArgs),
    /// A client of the API.
    #[command(flatten)]
    Client(ClientCommand),
}

/// What is asked of a server, and what makes asking easy.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make and manage keys
    Keys(Box<KeysArgs>),
    /// Ask for a decision about a credential; exits with 1 on DENY
    Check(Box<CheckArgs>),
    /// Ask why a request is allowed or denied, a supposed one too; exits with 1 on DENY
    Explain(Box<ExplainArgs>),
    /// Make and manage workspaces
    Workspaces(Box<WorkspacesArgs>),
    /// Make and manage subscriptions
    Subscriptions(Box<SubscriptionsArgs>),
    /// Make and manage the catalogue of scopes
    Scopes(Box<ScopesArgs>),
    /// See, test and send POSTbacks: events of keys, delivered to the keys' URLs
    Postbacks(Box<PostbacksArgs>),
    /// Make and manage routes
    Routes(Box<RoutesArgs>),
    /// Manage principals and synchronise them: users and machine accounts that keys are bound to
    Principals(Box<PrincipalsArgs>),
    /// List keys that need attention, with what to do about each
    Hygiene(Box<HygieneArgs>),
    /// Say that tokens were found in public
    Leaks(Box<LeaksArgs>),
    /// Print patterns by which scanners find tokens
    LeakRules(Box<LeakRulesArgs>),
    /// See who changed what, or watch changes as they are made
    Audit(Box<AuditArgs>),
    /// Move a set of keys in: CSV, JSON lines, Unkey's or Kong's formats
    Import(Box<ImportArgs>),
    /// Take all keys of a workspace elsewhere
    Export(Box<ExportArgs>),
    /// See the replicas that decide from one database, and wait for changes to be in force on all of them
    Fleet(Box<FleetArgs>),
    /// Compare what a replica decides with to what the database holds; exits with 1 where they differ
    VerifyIndex(Box<VerifyIndexArgs>),
    /// See which requests were allowed and denied, and why
    Decisions(Box<DecisionsArgs>),
    /// See how many requests were allowed and denied, by hour or day
    Usage(Box<UsageArgs>),
    /// See what restrictions in shadow would have denied, and which keys are safe to enforce
    Shadow(Box<ShadowArgs>),
    /// Keep an endpoint and a token for the commands to come
    Login(Box<LoginArgs>),
    /// Forget a profile and its token
    Logout(LogoutArgs),
    /// See and choose profiles
    Profiles(ProfilesArgs),
    /// Print what a shell needs to complete the command
    Completion(CompletionArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
}

/// What every command that administers takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    endpoint: EndpointOptions,
    #[command(flatten)]
    token: TokenOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl ClientCommand {
    /// Whether it takes `--request-id`.
    fn is_repeatable(&self) -> bool {
        match self {
            Self::Keys(args) => args.is_repeatable(),
            Self::Workspaces(args) => args.is_repeatable(),
            Self::Subscriptions(args) => args.is_repeatable(),
            Self::Scopes(args) => args.is_repeatable(),
            Self::Postbacks(args) => args.is_repeatable(),
            Self::Routes(args) => args.is_repeatable(),
            Self::Principals(args) => args.is_repeatable(),
            Self::Check(_)
            | Self::Decisions(_)
            | Self::Usage(_)
            | Self::Shadow(_)
            | Self::Hygiene(_)
            | Self::Leaks(_)
            | Self::LeakRules(_)
            | Self::Explain(_)
            | Self::Audit(_)
            | Self::Import(_)
            | Self::Export(_)
            | Self::Fleet(_)
            | Self::VerifyIndex(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Profiles(_)
            | Self::Completion(_)
            | Self::Man(_) => false,
        }
    }
}

impl Cli {
    /// The command; to serve where none was given.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// Reads the arguments of the process. Wrong usage ends it with 2, `--help` and `--version` with 0.
pub fn parse() -> Cli {
    let matches = definition().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command as it is typed and explained: every help ends with the exit codes.
pub fn definition() -> clap::Command {
    with_exit_codes(Cli::command())
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    let foot = match command.get_after_help() {
        Some(own) => format!("{own}\n\n{EXIT_CODES}"),
        None => EXIT_CODES.to_owned(),
    };
    command.after_help(foot).mut_subcommands(with_exit_codes)
}

/// Runs a command that is a client of the API.
pub async fn run_client(command: ClientCommand, io: &mut Io<'_>) -> Exit {
    let repeatable = command.is_repeatable();
    let done = match command {
        ClientCommand::Keys(args) => keys::run::run(*args, io).await,
        ClientCommand::Check(args) => check::run(*args, io).await,
        ClientCommand::Explain(args) => explain::run(*args, io).await,
        ClientCommand::Audit(args) => audit::run(*args, io).await,
        ClientCommand::Workspaces(args) => directory::workspaces(*args, io).await,
        ClientCommand::Subscriptions(args) => directory::subscriptions(*args, io).await,
        ClientCommand::Scopes(args) => directory::scopes(*args, io).await,
        ClientCommand::Postbacks(args) => postbacks::run(*args, io).await,
        ClientCommand::Routes(args) => routes::run(*args, io).await,
        ClientCommand::Principals(args) => directory::principals(*args, io).await,
        ClientCommand::Hygiene(args) => hygiene::run(*args, io).await,
        ClientCommand::Leaks(args) => leaks::run(*args, io).await,
        ClientCommand::LeakRules(args) => leak_rules::run(*args, io).await,
        ClientCommand::Import(args) => import::run(*args, io).await,
        ClientCommand::Export(args) => export::run(*args, io).await,
        ClientCommand::Fleet(args) => fleet::run(*args, io).await,
        ClientCommand::VerifyIndex(args) => verify::run(*args, io).await,
        ClientCommand::Decisions(args) => records::decisions(*args, io).await,
        ClientCommand::Usage(args) => records::usage(*args, io).await,
        ClientCommand::Shadow(args) => records::shadow(*args, io).await,
        ClientCommand::Login(args) => login::login(*args, io).await,
        ClientCommand::Logout(args) => login::logout(args, io),
        ClientCommand::Profiles(args) => login::profiles(args, io),
        ClientCommand::Completion(args) => manual::completion(&args, io),
        ClientCommand::Man(args) => manual::man(args, io),
    };
    done.unwrap_or_else(|failure| {
        let failure = if repeatable {
            failure.of_repeatable()
        } else {
            failure
        };
        failure.report(io)
    })
}

/// Tells why a command failed that works on the database itself; wrong settings are wrong usage.
pub fn fail(error: &(dyn std::error::Error + Send + Sync + 'static), io: &mut Io<'_>) -> Exit {
    let Some(wrong) = error.downcast_ref::<ConfigError>() else {
        io.note(format_args!("error: {error}"));
        return Exit::Failed;
    };
    tell(wrong, io)
}

fn tell(wrong: &ConfigError, io: &mut Io<'_>) -> Exit {
    for problem in &wrong.problems {
        io.note(format_args!("error: {problem}"));
    }
    Exit::Usage
}

/// Runs `check-config`.
pub fn check_config(args: ServeArgs, io: &mut Io<'_>) -> Exit {
    match args.validate_with(|name| (io.environment)(name)) {
        Ok(_) => match io.print("configuration is valid") {
            Ok(()) => Exit::Ok,
            Err(error) => Failure::from(error).report(io),
        },
        Err(error) => tell(&error, io),
    }
}

/// Shows a result in the form that was asked for.
fn show(
    io: &mut Io<'_>,
    output: Output,
    value: impl FnOnce() -> Value,
    text: impl FnOnce(Look<'_>) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Json => io.print(format_args!("{:#}", value()))?,
        Output::Table => {
            let text = text(Look::of(io));
            io.print(text)?;
        }
    }
    io.out.flush()?;
    Ok(())
}

/// The foot of the help of the commands that read the settings: the secrets, which have no flag.
fn secrets_help() -> String {
    let mut text =
        String::from("Secrets (environment only; VARIABLE_FILE names a file instead):\n");
    for secret in SECRETS {
        text.push_str(&format!("  {:<27} {}\n", secret.variable, secret.help));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
