//! A folder that is held open: what is done in it is done there, whatever becomes of the names on the way to it meanwhile.

use std::{fs::File, io, path::Path};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{self, Mode},
};

/// What a folder may be used for: by its owner, and to be read by its group.
const FOLDER_MODE: Mode = Mode::S_IRWXU.union(Mode::S_IRGRP).union(Mode::S_IXGRP);
const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP);

/// A folder.
pub(super) struct Folder(File);

impl Folder {
    /// The operator's folder. It may be a link, and is not made here, lest a disk that is not mounted fill another.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let gone =
            |kind| io::Error::new(kind, "the operator's folder for files is not there".to_owned());
        let folder = File::open(path).map_err(|error| gone(error.kind()))?;
        match folder.metadata()?.is_dir() {
            true => Ok(Self(folder)),
            false => Err(gone(io::ErrorKind::NotADirectory)),
        }
    }

    /// The folder `name` in it, made if it is not there. A link is none.
    pub(super) fn enter(&self, name: &str) -> io::Result<Self> {
        match stat::mkdirat(&self.0, name, FOLDER_MODE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match fcntl::openat(&self.0, name, flags, Mode::empty()) {
            Ok(folder) => Ok(Self(File::from(folder))),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, format!("`{name}` is no folder")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The file `name` in it, to read and to append to, made if it is not there. A link, a pipe and the like are none.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        let none =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no ordinary file"));
        let flags = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        match fcntl::openat(&self.0, name, flags, FILE_MODE) {
            Ok(file) => {
                let file = File::from(file);
                if file.metadata()?.is_file() { Ok(file) } else { Err(none()) }
            }
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => Err(none()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether `file` is the one that `name` stands for in it.
    pub(super) fn has(&self, name: &str, file: &File) -> io::Result<bool> {
        let named = match stat::fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => named,
            Err(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let ours = stat::fstat(file)?;
        Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino))
    }

    /// Whether there is anything of this name.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        stat::fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) != Err(Errno::ENOENT)
    }

    /// Gives what is called `from` the name `to`, in place of what has it.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fcntl::renameat(&self.0, from, &self.0, to)?)
    }

    /// Has the disk keep the names in it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}
