//! What processes cost, by `/proc` (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// What a process, with its children where it has any, has used up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, of the user and in the kernel.
    pub(crate) cpu_us: u64,
    /// The most memory that was resident; shared pages count in each process of a family.
    pub(crate) peak_rss_bytes: u64,
}

/// Of process `pid` and its living and dead descendants.
pub(crate) fn of(pid: u32) -> Result<Usage> {
    let own = Stat::of(pid).with_context(|| format!("process {pid} does not run"))?;
    let mut usage = Usage {
        cpu_us: micros(own.ticks + own.reaped_ticks)?,
        peak_rss_bytes: peak_rss_bytes(pid).unwrap_or_default(),
    };
    for child in children(pid) {
        // It may have ended meanwhile, and counts among the reaped ones next time.
        if let Ok(of_child) = of(child) {
            usage.cpu_us += of_child.cpu_us;
            usage.peak_rss_bytes += of_child.peak_rss_bytes;
        }
    }
    Ok(usage)
}

/// Processor time of this process.
pub(crate) fn own_cpu_us() -> Result<u64> {
    micros(Stat::of(std::process::id()).context("no /proc")?.ticks)
}

struct Stat {
    parent: u32,
    ticks: u64,
    reaped_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The second field is the name in brackets, which may hold blanks and brackets.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // Fields are numbered from 1, and the first of `rest` is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            ticks: field(14)? + field(15)?,
            reaped_ticks: field(16)? + field(17)?,
        })
    }
}

fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == of)).collect()
}

fn micros(ticks: u64) -> Result<u64> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no length of a tick")?;
    Ok(ticks * 1_000_000 / u64::try_from(per_second)?)
}

fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_is_no_trouble() {
        let stat = "7 (a) b (c) S 5 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 100";
        let Stat { parent, ticks, reaped_ticks } = Stat::parse(stat).expect("a stat line");
        assert_eq!((parent, ticks, reaped_ticks), (5, 23, 27));
    }

    #[test]
    fn this_process_is_in_proc() {
        assert!(of(std::process::id()).expect("it runs").peak_rss_bytes > 0);
    }
}
