//! One file that is appended to, set aside when it is large, and mended when it is opened.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{FileOptions, place::Place};

/// How much of a file's end is looked at at a time for its last line feed.
const TAIL_BYTES: u64 = 64 * 1024;

/// A file of a sink, opened when it is first written and after every failure.
pub(super) struct Log {
    place: Place,
    options: FileOptions,
    open: Option<Open>,
}

struct Open {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Log {
    pub(super) fn new(place: Place, options: &FileOptions) -> Self {
        Self { place, options: options.clone(), open: None }
    }

    /// Appends whole lines, in this file or, where it would get too large, in a new one; on the disk when it returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take().filter(Open::is_in_place) {
            Some(open) => open,
            None => self.open()?,
        };
        let length = lines.len() as u64;
        if open.bytes > 0 && open.bytes + length > self.options.max_bytes {
            set_aside(&open.path, self.options.max_files)?;
            open = self.open()?;
        }
        // What was written of it is taken back as far as the disk lets us; the file stays closed, and what is left of a line is
        // taken back when it is opened again.
        if let Err(error) = open.file.write_all(lines).and_then(|()| open.file.sync_data()) {
            return Err(open.file.set_len(open.bytes).err().unwrap_or(error));
        }
        open.bytes += length;
        self.open = Some(open);
        Ok(())
    }

    fn open(&self) -> io::Result<Open> {
        let path = self.place.prepare(&self.options.root)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(&path)?;
        let mut open = Open { file, path, bytes: 0 };
        open.bytes = open.mend()?;
        sync_folder(&open.path)?;
        Ok(open)
    }
}

impl Open {
    /// Whether the file is still the one of its name: somebody else may have set it aside.
    fn is_in_place(&self) -> bool {
        let (Ok(ours), Ok(named)) = (self.file.metadata(), fs::symlink_metadata(&self.path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (named.dev(), named.ino()) && ours.len() == self.bytes
    }

    /// Takes back what follows the last line feed; gives the length that is left.
    fn mend(&mut self) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        let mut end = length;
        while end > 0 {
            let start = end.saturating_sub(TAIL_BYTES);
            self.file.seek(SeekFrom::Start(start))?;
            let mut tail = Vec::new();
            (&self.file).take(end - start).read_to_end(&mut tail)?;
            match tail.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => {
                    end = start + at as u64 + 1;
                    break;
                }
                None => end = start,
            }
        }
        if end < length {
            self.file.set_len(end)?;
            self.file.sync_data()?;
        }
        Ok(end)
    }
}

/// Renames `name` to `name.1`, `name.1` to `name.2` and so on; what would be one too many goes.
fn set_aside(path: &Path, max_files: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // As far as there are files: gaps end the row.
    let last = (1..max_files).find(|number| !numbered(*number).exists()).unwrap_or(max_files - 1);
    for number in (1..last).rev() {
        fs::rename(numbered(number), numbered(number + 1))?;
    }
    fs::rename(path, numbered(1))?;
    sync_folder(path)
}

/// Has the disk keep the names in the folder of a file.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use millrace_domain::AccountSid;

    use super::*;

    fn log(root: &Path, max_bytes: u64) -> Log {
        let place = Place { account: AccountSid::from_u128(1), path: "a/b.jsonl".to_owned() };
        Log::new(place, &FileOptions { root: root.to_owned(), max_bytes, max_files: 3 })
    }

    fn path(root: &Path) -> PathBuf {
        root.join(AccountSid::from_u128(1).to_string()).join("a/b.jsonl")
    }

    #[test]
    fn half_a_line_is_taken_back_however_long_it_is() {
        let root = tempfile::tempdir().expect("a directory");
        log(root.path(), 1 << 30).append(b"one\n").expect("written");
        for torn in [1, 70_000, 200_000] {
            let mut file = OpenOptions::new().append(true).open(path(root.path())).expect("open");
            file.write_all(&vec![b'x'; torn]).expect("written");
            log(root.path(), 1 << 30).append(b"two\n").expect("written");
            let text = fs::read_to_string(path(root.path())).expect("text");
            assert!(text.starts_with("one\ntwo\n") && !text.contains('x'), "{torn}");
        }
        fs::write(path(root.path()), vec![b'x'; 70_000]).expect("written");
        log(root.path(), 1 << 30).append(b"three\n").expect("written");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"three\n");
    }

    #[test]
    fn a_large_file_is_set_aside_and_the_oldest_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let mut log = log(root.path(), 8);
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
            log.append(line.as_bytes()).expect("written");
        }
        let text = |name: &str| fs::read_to_string(path(root.path()).with_file_name(name));
        assert_eq!(text("b.jsonl").expect("text"), "five\n");
        assert_eq!(text("b.jsonl.1").expect("text"), "four\n");
        assert_eq!(text("b.jsonl.2").expect("text"), "three\n");
        assert!(text("b.jsonl.3").is_err(), "three files are kept");
    }

    #[test]
    fn a_file_that_somebody_moved_is_begun_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let mut log = log(root.path(), 1 << 30);
        log.append(b"one\n").expect("written");
        fs::rename(path(root.path()), root.path().join("moved")).expect("renamed");
        log.append(b"two\n").expect("written");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"two\n");
        assert_eq!(fs::read(root.path().join("moved")).expect("text"), b"one\n");
    }

    #[test]
    fn no_link_is_followed() {
        let (root, other) = (tempfile::tempdir(), tempfile::tempdir());
        let (root, other) = (root.expect("a directory"), other.expect("a directory"));
        let account = root.path().join(AccountSid::from_u128(1).to_string());
        fs::create_dir(&account).expect("made");
        std::os::unix::fs::symlink(other.path(), account.join("a")).expect("linked");
        log(root.path(), 1 << 30).append(b"one\n").expect_err("a folder that is a link");
        fs::remove_file(account.join("a")).expect("removed");
        fs::create_dir(account.join("a")).expect("made");
        std::os::unix::fs::symlink(other.path().join("x"), path(root.path())).expect("linked");
        log(root.path(), 1 << 30).append(b"one\n").expect_err("a file that is a link");
        assert_eq!(fs::read_dir(other.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused_here_too() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["../x", "/etc/x", "a/../../x", ".x", "", "a\0b"] {
            let place = Place { account: AccountSid::from_u128(1), path: path.to_owned() };
            let options = FileOptions { root: root.path().to_owned(), max_bytes: 1, max_files: 2 };
            Log::new(place, &options).append(b"one\n").expect_err(path);
        }
        let gone = root.path().join("not-mounted");
        log(&gone, 1).append(b"one\n").expect_err("no root");
        assert!(!gone.exists(), "the root is the operator's to make");
    }
}
