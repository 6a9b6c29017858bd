//! `claviger completion` and `claviger man`: the command explained to shells and to `man`.

use std::path::{Path, PathBuf};
use std::{fs, io};

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
        let (_, text) = page(definition())?;
        io.out.write_all(text.as_bytes())?;
        io.out.flush()?;
        return Ok(Exit::Ok);
    };
    let mut command = definition().disable_help_subcommand(true);
    command.build();
    let written = fs::create_dir_all(&dir).and_then(|()| pages(&command, &dir));
    written.map_err(|error| {
        let message = format!("`{}` can't be written: {error}", dir.display());
        Failure::new(Exit::Failed, message)
    })?;
    io.note(format_args!(
        "wrote the manual pages into `{}`",
        dir.display()
    ));
    Ok(Exit::Ok)
}

/// Writes the page of a command, and of each below it.
fn pages(command: &clap::Command, dir: &Path) -> io::Result<()> {
    let (name, text) = page(command.clone())?;
    fs::write(dir.join(name), text)?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages(below, dir)?;
    }
    Ok(())
}

/// The page of a command, and the name of its file. Examples and tables keep their lines.
fn page(command: clap::Command) -> io::Result<(String, String)> {
    let man = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8_lossy(&text)
        .replace("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n")
        .replace("\n.SH VERSION\n", "\n.fi\n.SH VERSION\n");
    Ok((man.get_filename(), text))
}
