//! Where a sink's file is, and the way there: made, and gone part by part.

use std::{io, path::Path};

use millrace_domain::AccountSid;

use super::folder::Folder;

/// A file of an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) account: AccountSid,
    /// Relative; checked at creation, and again here.
    pub(super) path: String,
}

impl Place {
    /// The name of the file in its folder.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The folder of the file below `root`, each part opened in the one before and none through a link.
    pub(super) fn reach(&self, root: &Path) -> io::Result<Folder> {
        self.go(root, |_| Ok(()))
    }

    /// The same, and the disk keeps the names of all folders on the way.
    pub(super) fn reach_for_good(&self, root: &Path) -> io::Result<Folder> {
        self.go(root, Folder::sync)
    }

    fn go(&self, root: &Path, on_the_way: fn(&Folder) -> io::Result<()>) -> io::Result<Folder> {
        let is_unsafe =
            |part: &str| part.is_empty() || part.starts_with('.') || part.contains('\0');
        if self.path.split('/').any(is_unsafe) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not safe"));
        }
        let account = self.account.to_string();
        let folders = self.path.rsplit_once('/').map(|(folders, _)| folders.split('/'));
        let mut folder = Folder::root(root)?;
        for part in std::iter::once(account.as_str()).chain(folders.into_iter().flatten()) {
            let next = folder.enter(part)?;
            on_the_way(&folder)?;
            folder = next;
        }
        Ok(folder)
    }
}
