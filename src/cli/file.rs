//! Files that the command writes whole or not at all, for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that takes the place of another once it is complete; until then, and if it never is, the other stays.
pub(super) struct Replacement {
    file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
    complete: bool,
}

impl Replacement {
    /// Begins a file beside its later place, for the owner alone.
    pub(super) fn of(target: &Path) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this names no file"))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(".new");
        let temporary = target.with_file_name(temporary);
        // What was left behind when a command was killed: there is never more than this one, for digests may be in it.
        let _none = fs::remove_file(&temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        Ok(Self {
            file: BufWriter::new(file),
            temporary,
            target: target.to_owned(),
            complete: false,
        })
    }

    /// Puts the file into its place.
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let (own, there) = (
            self.file.get_ref().metadata()?,
            fs::metadata(&self.temporary)?,
        );
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            // It is not this one's to remove, either.
            self.complete = true;
            return Err(io::Error::other("another command is writing it too"));
        }
        fs::rename(&self.temporary, &self.target)?;
        self.complete = true;
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.complete {
            let _gone = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        fs::write(&target, "old").unwrap();
        let mut half = Replacement::of(&target).unwrap();
        half.write_all(b"ne").unwrap();
        drop(half);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut whole = Replacement::of(&target).unwrap();
        whole.write_all(b"new").unwrap();
        whole.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Replacement::of(Path::new("/")).is_err());
    }

    #[test]
    fn what_a_killed_command_left_behind_is_cleared_away_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let mut killed = Replacement::of(&target).unwrap();
        killed.write_all(b"digests").unwrap();
        killed.flush().unwrap();
        let mut next = Replacement::of(&target).unwrap();
        next.write_all(b"new").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // Had it only seemed to be dead, it would not put the other's half into place, nor take it away.
        assert!(killed.commit().is_err());
        assert!(!target.exists());
        next.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
