//! The data directory of `millrace dev`: one process at a time, for its user's eyes only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Where `millrace dev` keeps everything.
pub(crate) enum Place {
    /// Nowhere: it is gone with the process.
    Memory,
    /// In files.
    Directory(DataDirectory),
}

impl Place {
    /// Path of a file in it; `None` in memory.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Memory => None,
            Self::Directory(directory) => Some(directory.path.join(name)),
        }
    }
}

/// Makes an SQLite database that others cannot read; its journals get the mode that it has. One that is there is mended.
///
/// # Errors
/// If it cannot be made.
pub(super) fn keep_private(path: &Path) -> anyhow::Result<()> {
    let made = || -> std::io::Result<()> {
        private().create(true).truncate(false).open(path)?;
        let journals = ["-wal", "-shm"].map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        for file in journals.iter().map(PathBuf::as_path).chain([path]) {
            match fs::set_permissions(file, Permissions::from_mode(0o600)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                set => set?,
            }
        }
        Ok(())
    };
    made().with_context(|| format!("cannot make `{}`", path.display()))
}

/// A directory that is locked until this is dropped.
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if need be, and locks it. `None`: the user's own.
    ///
    /// # Errors
    /// Another process has it; it cannot be written.
    pub(crate) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = path.map_or_else(users_own, Ok)?;
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the data directory `{shown}`"))?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .with_context(|| format!("cannot write in the data directory `{shown}`"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "the data directory `{shown}` is in use by another `millrace dev`: stop that, or give another --data-dir, or --ephemeral"
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock the data directory `{shown}`"))
            }
        }
    }
}

/// Reads a file; `None` if there is none.
///
/// # Errors
/// Anything else.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// Writes a file whole or not at all, readable by its user only.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file = private().create(true).truncate(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("cannot write `{}`", path.display()))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// `$XDG_DATA_HOME/millrace`, or `~/.local/share/millrace` (XDG Base Directory Specification).
fn users_own() -> anyhow::Result<PathBuf> {
    let from =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("millrace"))
        .context("no home directory is known: give --data-dir or --ephemeral")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/data");
        let first = DataDirectory::open(Some(path.clone())).expect("free");
        let error = DataDirectory::open(Some(path.clone())).err().expect("taken").to_string();
        assert!(error.contains("in use"), "{error}");
        drop(first);
        DataDirectory::open(Some(path)).expect("free again");
    }

    #[test]
    fn what_is_written_is_read_and_nobody_elses() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.json");
        assert_eq!(read(&path).expect("readable"), None);
        write(&path, "text").expect("writable");
        assert_eq!(read(&path).expect("readable").as_deref(), Some("text"));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_database_is_nobody_elses_and_keeps_what_it_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.sqlite");
        keep_private(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        let journal = directory.path().join("a.sqlite-wal");
        for file in [&path, &journal] {
            fs::write(file, "rows").expect("writable");
            fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
        }
        keep_private(&path).expect("mended");
        assert_eq!((mode(&path), mode(&journal)), (0o600, 0o600));
        assert_eq!(fs::read(&path).expect("readable"), b"rows");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }
}
