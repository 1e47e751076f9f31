//! Where a sink's file is, and the way there: made, and looked at part by part.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use millrace_domain::AccountSid;

/// A file of an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) account: AccountSid,
    /// Relative; checked at creation, and again here.
    pub(super) path: String,
}

impl Place {
    /// The file below `root`, in a folder that is there and not reached through a link.
    pub(super) fn prepare(&self, root: &Path) -> io::Result<PathBuf> {
        let unsafe_path = || io::Error::new(io::ErrorKind::InvalidInput, "the path is not safe");
        let mut parts: Vec<&str> = self.path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || part.contains('\0'))
        {
            return Err(unsafe_path());
        }
        let name = parts.pop().ok_or_else(unsafe_path)?;
        let account = self.account.to_string();
        // The root is the operator's: it may be a link, and is not made here, lest a disk that is not mounted fill another.
        let mut folder = root.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), "the operator's folder for files is not there")
        })?;
        for part in std::iter::once(account.as_str()).chain(parts) {
            folder.push(part);
            match fs::DirBuilder::new().mode(0o750).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if !fs::symlink_metadata(&folder)?.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("`{part}` is no folder"),
                ));
            }
        }
        folder.push(name);
        match fs::symlink_metadata(&folder) {
            Ok(found) if !found.is_file() => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no file")))
            }
            _ => Ok(folder),
        }
    }
}
