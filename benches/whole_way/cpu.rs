//! What processes and the machine have worked, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

/// The kernel's clock of CPU time is 100 Hz for user space, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process, user and system.
pub fn of_process(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |(_, ticks)| TICK * ticks)
}

/// CPU time of all processes begun by this one or by those it began.
pub fn of_children(pid: u32) -> Duration {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: HashMap<u32, (u32, u32)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let below = |mut of: u32| {
        while let Some((parent, _)) = all.get(&of) {
            of = *parent;
            if of == pid {
                return true;
            }
        }
        false
    };
    TICK * all.iter().filter(|(of, _)| below(**of)).map(|(_, (_, ticks))| ticks).sum::<u32>()
}

/// Parent, and ticks of CPU time.
fn stat(pid: u32) -> Option<(u32, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some((number(1)?, number(11)? + number(12)?))
}

/// Idle time of the machine, all cores together.
pub fn idle() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u32> =
        text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    TICK * fields.get(3..5).map_or(0, |f| f.iter().sum())
}
