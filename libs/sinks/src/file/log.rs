//! One file that is appended to, set aside when it is large, and mended when it is opened.
//!
//! Who writes it holds its lock, so that a deliverer that lost the sink to another, on a disk that both have, tears no line of the
//! other's.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    time::{Duration, Instant},
};

use super::{FileOptions, folder::Folder, place::Place};

/// How much of a file's end is looked at at a time for its last line feed.
const TAIL_BYTES: u64 = 64 * 1024;
/// How long others may hold a file, or set it aside again and again, before the write is given up, to be tried again: less than a
/// delivery's 5 s.
const LOCKED_MAX: Duration = Duration::from_secs(4);
/// When to look again whether it still does.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);

/// A file of a sink, opened when it is first written and after every failure.
pub(super) struct Log {
    place: Place,
    options: FileOptions,
    open: Option<Open>,
    locks: Locks,
}

/// How files are locked. Given, as not every disk does it.
#[derive(Clone, Copy)]
struct Locks {
    lock: fn(&File) -> Result<(), TryLockError>,
    unlock: fn(&File) -> io::Result<()>,
}

const LOCKS: Locks = Locks { lock: File::try_lock, unlock: File::unlock };

struct Open {
    file: File,
    locks: Locks,
    /// We hold its lock; where the disk knows no locks, never.
    locked: bool,
    /// Its length when it was last known to have nothing but whole lines.
    whole: Option<u64>,
}

impl Log {
    pub(super) fn new(place: Place, options: &FileOptions) -> Self {
        Self { place, options: options.clone(), open: None, locks: LOCKS }
    }

    /// Appends whole lines, in this file or, where it would get too large, in a new one; on the disk when it returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let folder = self.place.reach(&self.options.root)?;
        let until = Instant::now() + LOCKED_MAX;
        let (mut open, mut bytes) = self.hold(&folder, until)?;
        let length = lines.len() as u64;
        if bytes > 0 && bytes + length > self.options.max_bytes {
            set_aside(&folder, self.place.name(), self.options.max_files)?;
            (open, bytes) = self.hold(&folder, until)?;
        }
        // What was written of it is taken back as far as the disk lets us; the file stays closed, and what is left of a line is
        // taken back when it is opened again.
        if let Err(error) = open.file.write_all(lines).and_then(|()| open.file.sync_data()) {
            return Err(open.file.set_len(bytes).err().unwrap_or(error));
        }
        open.whole = Some(bytes + length);
        // One that cannot be unlocked is closed, which unlocks it.
        self.open = open.unlock().is_ok().then_some(open);
        Ok(())
    }

    /// The file that has the name now, locked, with nothing but whole lines, and its length.
    fn hold(&mut self, folder: &Folder, until: Instant) -> io::Result<(Open, u64)> {
        let mut turns = 0;
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.begin()?,
            };
            open.lock(until)?;
            // Somebody else may have set it aside, or moved it, while its lock was waited for.
            if folder.has(self.place.name(), &open.file)? {
                let bytes = open.settle()?;
                return Ok((open, bytes));
            }
            if Instant::now() >= until {
                return Err(given_up("the file is moved again and again"));
            }
            turns += 1;
            if turns > 1 {
                std::thread::sleep(LOCKED_PAUSE);
            }
        }
    }

    fn begin(&self) -> io::Result<Open> {
        let folder = self.place.reach_for_good(&self.options.root)?;
        let file = folder.open(self.place.name())?;
        folder.sync()?;
        Ok(Open { file, locks: self.locks, locked: false, whole: None })
    }
}

impl Open {
    /// Waits until nobody else writes the file, but not for longer than a delivery is waited for: the thread is one of few. Where
    /// the disk knows no locks, nobody can be waited for.
    fn lock(&mut self, until: Instant) -> io::Result<()> {
        loop {
            match (self.locks.lock)(&self.file) {
                Ok(()) => {
                    self.locked = true;
                    return Ok(());
                }
                Err(TryLockError::Error(error)) if knows_no_locks(&error) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(given_up("another process holds the file"));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCKED_PAUSE),
            }
        }
    }

    /// Lets others write the file. One that was not locked stays open as it is: its disk would refuse to unlock it.
    fn unlock(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.locked) { (self.locks.unlock)(&self.file) } else { Ok(()) }
    }

    /// Sees to it that the file has nothing but whole lines; gives its length.
    fn settle(&mut self) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        if self.whole != Some(length) {
            self.whole = Some(self.mend(length)?);
        }
        Ok(self.whole.unwrap_or(length))
    }

    /// Takes back what follows the last line feed of `length` bytes; gives the length that is left.
    fn mend(&mut self, length: u64) -> io::Result<u64> {
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

/// What others kept us from: nothing was written, and a later try may find them done.
fn given_up(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, why)
}

/// `ENOLCK` is what a network disk without a lock server says.
fn knows_no_locks(error: &io::Error) -> bool {
    let no_locks = nix::errno::Errno::ENOLCK as i32;
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(no_locks)
}

/// Renames `name` to `name.1`, `name.1` to `name.2` and so on; what would be one too many goes.
fn set_aside(folder: &Folder, name: &str, max_files: u32) -> io::Result<()> {
    let numbered = |number: u32| format!("{name}.{number}");
    // As far as there are files: gaps end the row.
    let last = (1..max_files).find(|number| !folder.is_taken(&numbered(*number)));
    for number in (1..last.unwrap_or(max_files - 1)).rev() {
        folder.rename(&numbered(number), &numbered(number + 1))?;
    }
    folder.rename(name, &numbered(1))?;
    folder.sync()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        path::{Path, PathBuf},
        thread,
    };

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

    /// As on a network disk without a lock server.
    #[test]
    fn a_file_stays_open_where_the_disk_knows_no_locks() {
        fn no_locks() -> io::Error {
            io::Error::from_raw_os_error(nix::errno::Errno::ENOLCK as i32)
        }
        let locks =
            Locks { lock: |_| Err(TryLockError::Error(no_locks())), unlock: |_| Err(no_locks()) };
        let root = tempfile::tempdir().expect("a directory");
        let mut log = Log { locks, ..log(root.path(), 8) };
        log.append(b"one\n").expect("written");
        assert!(log.open.is_some(), "it is not opened again for each write");
        log.append(b"two\n").expect("written");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"one\ntwo\n");
        log.append(b"three\n").expect("written");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"three\n", "it was set aside");
    }

    #[test]
    fn a_file_that_cannot_be_unlocked_is_closed_and_holds_up_nobody() {
        let locks = Locks { unlock: |_| Err(io::Error::other("on purpose")), ..LOCKS };
        let root = tempfile::tempdir().expect("a directory");
        let mut stuck = Log { locks, ..log(root.path(), 1 << 30) };
        stuck.append(b"one\n").expect("written");
        log(root.path(), 1 << 30).append(b"two\n").expect("nobody holds it");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"one\ntwo\n");
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
    fn a_folder_that_becomes_a_link_meanwhile_leads_nowhere() {
        let (root, other) = (tempfile::tempdir(), tempfile::tempdir());
        let (root, other) = (root.expect("a directory"), other.expect("a directory"));
        let mut log = log(root.path(), 1 << 30);
        log.append(b"one\n").expect("written");
        let folder = path(root.path()).parent().expect("it has one").to_owned();
        fs::rename(&folder, root.path().join("moved")).expect("renamed");
        std::os::unix::fs::symlink(other.path(), &folder).expect("linked");
        log.append(b"two\n").expect_err("a folder that is a link");
        fs::remove_file(&folder).expect("removed");
        log.append(b"two\n").expect("written");
        assert_eq!(fs::read(path(root.path())).expect("text"), b"two\n");
        assert_eq!(fs::read(root.path().join("moved/b.jsonl")).expect("text"), b"one\n");
        assert_eq!(fs::read_dir(other.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn what_is_no_file_is_not_written_and_nobody_waits_for_it() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(path(root.path()).parent().expect("it has one")).expect("made");
        nix::unistd::mkfifo(&path(root.path()), nix::sys::stat::Mode::S_IRWXU).expect("made");
        log(root.path(), 1 << 30).append(b"one\n").expect_err("a pipe");
        fs::remove_file(path(root.path())).expect("removed");
        fs::create_dir(path(root.path())).expect("made");
        log(root.path(), 1 << 30).append(b"one\n").expect_err("a folder");
    }

    /// Appends as a deliverer does: what others kept it from is tried again. Locks are not fair, so on a slow disk who writes all the
    /// time may keep another away for longer than a try takes.
    fn append_at_last(log: &mut Log, lines: &[u8]) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let began = Instant::now();
            let Err(error) = log.append(lines) else { return };
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            assert!(began.elapsed() >= LOCKED_MAX, "it gave up early: {error}");
            assert!(Instant::now() < until, "written at last: {error}");
        }
    }

    /// As two deliverers do on one disk, one of which does not know yet that the sink is the other's.
    #[test]
    fn two_that_write_one_file_tear_and_lose_no_line() {
        const LINES: usize = 200;
        let root = tempfile::tempdir().expect("a directory");
        let written = |who: usize, number: usize| format!("{who}-{number:04}-{}\n", "x".repeat(50));
        thread::scope(|scope| {
            for who in 0..2 {
                let root = root.path();
                scope.spawn(move || {
                    // It is set aside every 16 lines; none goes.
                    let options =
                        FileOptions { root: root.to_owned(), max_bytes: 1_000, max_files: 1_000 };
                    let mut log = Log { options, ..log(root, 0) };
                    for number in 0..LINES {
                        // Closed now and then, as at the end of a process.
                        if number % 37 == 0 {
                            log.open = None;
                        }
                        append_at_last(&mut log, written(who, number).as_bytes());
                    }
                });
            }
        });
        let folder = path(root.path()).parent().expect("it has one").to_owned();
        let files = fs::read_dir(folder).expect("a directory").map(|it| it.expect("a file").path());
        let texts = files.map(|file| fs::read_to_string(file).expect("text"));
        let mut lines: Vec<String> = texts
            .flat_map(|text| text.lines().map(|it| format!("{it}\n")).collect::<Vec<_>>())
            .collect();
        lines.sort();
        let all = (0..2).flat_map(|who| (0..LINES).map(move |number| written(who, number)));
        assert_eq!(lines, all.collect::<Vec<_>>());
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
