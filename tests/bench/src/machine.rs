//! The set-up of a run: a figure without it says nothing.

use std::{fs, path::Path, process::Command};

/// Processor, cores, memory, kernel.
pub(crate) fn hardware() -> String {
    let memory = field("/proc/meminfo", "MemTotal:")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {} cores, {} MB, Linux {}",
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
        std::thread::available_parallelism().map_or(0, usize::from),
        memory / 1_024,
        kernel.trim(),
    )
}

/// How busy the machine is with other things: its load of the last minute.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Versions of what takes part.
pub(crate) fn versions(millrace: &Path, with_servers: bool) -> String {
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let mut versions = vec![format!("{} ({build})", said(&millrace.display().to_string()))];
    if with_servers {
        versions.push(said("redis-server"));
        versions.push(said(&postgres()));
    }
    versions.join("; ")
}

/// The first words that a program says of its version.
fn said(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text =
        output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    if words.is_empty() { format!("{program} of an unknown version") } else { words.join(" ") }
}

/// Debian keeps the server's programs out of `PATH`.
fn postgres() -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok()).max();
    newest.map_or_else(
        || "postgres".to_owned(),
        |it| format!("/usr/lib/postgresql/{it}/bin/postgres"),
    )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}
