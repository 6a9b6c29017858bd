//! `claviger completion` and `claviger man`: the command explained to shells and to `man`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::definition;
use super::failure::{Exit, Failure};
use super::io::Io;

/// Print what a shell needs to complete the command.
#[derive(Debug, Args)]
#[command(after_help = "\
Install it:
  bash        claviger completion bash > ~/.local/share/bash-completion/completions/claviger
  zsh         claviger completion zsh > ~/.zfunc/_claviger       # with `fpath+=~/.zfunc` before `compinit`
  fish        claviger completion fish > ~/.config/fish/completions/claviger.fish
  elvish      claviger completion elvish >> ~/.config/elvish/rc.elv
  powershell  claviger completion powershell >> $PROFILE")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger man | man -l -
  claviger man --dir ~/.local/share/man/man1      # a page for each command: `man claviger-keys-create`")]
pub struct ManArgs {
    /// Write a page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completion(args: &CompletionArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "claviger", &mut script);
    io.out.write_all(&script)?;
    io.out.flush()?;
    Ok(Exit::Ok)
}

pub(super) fn man(args: ManArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(definition()).render(&mut page)?;
        io.out.write_all(&page)?;
        io.out.flush()?;
        return Ok(Exit::Ok);
    };
    let written =
        fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(definition(), &dir));
    written.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` can't be written: {error}", dir.display()),
        )
    })?;
    io.note(format_args!(
        "wrote the manual pages into `{}`",
        dir.display()
    ));
    Ok(Exit::Ok)
}
