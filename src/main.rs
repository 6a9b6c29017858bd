//! The `claviger` program: arguments in, exit code out.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use claviger::cli::{self, BackupArgs, Command, Exit, Io, RestoreArgs};
use claviger::config::{Config, ServeArgs};
use claviger::server::{self, App, Rotation, SystemClock, SystemEntropy};
use claviger::telemetry;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let mut io = Io::standard();
    let exit = match cli::parse().into_command() {
        Command::Serve(args) => match serve(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::Recover(args) => match recover(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::Migrate(args) => match migrate(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::AdoptRestore(args) => match adopt_restore(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::RotateRootKey(args) => match rotate_root_key(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::Backup(args) => match backup(*args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::Restore(args) => match restore(*args).await {
            Ok(()) => Exit::Ok,
            Err(error) => cli::fail(&*error, &mut io),
        },
        Command::CheckConfig(args) => cli::check_config(args, &mut io),
        Command::Healthcheck(args) => cli::healthcheck(args, &mut io).await,
        Command::Client(command) => cli::run_client(command, &mut io).await,
    };
    exit.into()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let config = args.validate()?;
    start_log(&config)?;
    let app = server::build(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    if let Some(bootstrap) = app.bootstrap() {
        tracing::info!(path = %bootstrap.path.display(), "the first administrator was made; its token is in this file");
        let mut terminal = std::io::stderr();
        // For whoever sits before it; a log never gets it.
        if terminal.is_terminal() {
            writeln!(
                terminal,
                "\n  The first administrator's token: {}\n  It is in {} too.\n",
                bootstrap.token.reveal(),
                bootstrap.path.display()
            )?;
        }
    }
    run(app).await
}

async fn recover(args: ServeArgs) -> Result<(), Failure> {
    let config = args.validate()?;
    start_log(&config)?;
    let token = server::recover(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    writeln!(std::io::stdout(), "{}", token.reveal())?;
    Ok(())
}

async fn migrate(args: ServeArgs) -> Result<(), Failure> {
    let config = args.validate()?;
    start_log(&config)?;
    let steps = server::migrate(&config).await?;
    let mut out = std::io::stdout();
    for step in &steps {
        writeln!(out, "applied {step}")?;
    }
    if steps.is_empty() {
        writeln!(out, "the schema is up to date")?;
    }
    Ok(())
}

async fn adopt_restore(args: ServeArgs) -> Result<(), Failure> {
    let config = args.validate()?;
    start_log(&config)?;
    let clock = Arc::new(SystemClock);
    let revision = server::adopt_restore(config, clock, Arc::new(SystemEntropy)).await?;
    writeln!(
        std::io::stdout(),
        "the history goes on from revision {revision}"
    )?;
    Ok(())
}

async fn rotate_root_key(args: ServeArgs) -> Result<(), Failure> {
    let config = args.validate()?;
    start_log(&config)?;
    let done = match server::rotate_root_key(&config, Arc::new(SystemEntropy)).await? {
        Rotation::Wrapped => {
            "the database's keys are wrapped with the new root key; start servers with that one from now on"
        }
        Rotation::Unchanged => {
            "the database's keys are wrapped with this root key already; nothing was changed"
        }
        Rotation::Replaced => {
            "the root key in the data directory was replaced; servers that run go on, and backups from before need the old one"
        }
        Rotation::Finished => "a rotation that had been cut off is finished",
    };
    writeln!(std::io::stdout(), "{done}")?;
    Ok(())
}

async fn backup(args: BackupArgs) -> Result<(), Failure> {
    let config = args.settings.clone().validate()?;
    let done = server::backup(&config, args.file(), Arc::new(SystemClock)).await?;
    // Not to standard output: the backup itself may go there.
    writeln!(std::io::stderr(), "backed up {done}")?;
    Ok(())
}

async fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let config = args.settings.clone().validate()?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let done = server::restore(&config, args.file(), clock, entropy).await?;
    writeln!(std::io::stderr(), "restored {done}")?;
    Ok(())
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let terminal = std::io::stderr().is_terminal();
    telemetry::start_log(
        config.log_format.is_json(terminal),
        terminal,
        &config.log_filter,
    )
}

/// Runs until the first SIGTERM or SIGINT, then drains; at the second it ends at once.
async fn run(app: App) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut signalled = async || {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut running = std::pin::pin!(app.run(async {
        let _ = stopped.await;
    }));
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = signalled() => {}
    }
    let _ = stop.send(());
    tokio::select! {
        ended = &mut running => Ok(ended?),
        () = signalled() => Err("stopped at once, by a second signal".into()),
    }
}
