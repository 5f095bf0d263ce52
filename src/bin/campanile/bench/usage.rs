//! What a server uses, as the kernel counts it: the CPU time of all its threads, and its resident memory.

use std::fs;

use anyhow::Context;

/// CPU time since a process began, and memory now; of several processes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
}

impl Usage {
    /// Of these processes; none if there are none to ask.
    pub(super) fn of(processes: &[u32]) -> anyhow::Result<Option<Self>> {
        let mut all = Self::default();
        for process in processes {
            let one = Self::of_one(*process)
                .with_context(|| format!("cannot tell what process {process} uses"))?;
            all.cpu_seconds += one.cpu_seconds;
            all.resident_bytes += one.resident_bytes;
        }
        Ok((!processes.is_empty()).then_some(all))
    }

    fn of_one(process: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let statm = fs::read_to_string(format!("/proc/{process}/statm"))?;
        let ticks = cpu_ticks(&stat).context("its stat is not as the kernel writes it")?;
        let pages = statm
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse::<u64>().ok());
        let pages = pages.context("its statm is not as the kernel writes it")?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Self {
            cpu_seconds: ticks as f64 / per_second as f64,
            resident_bytes: pages * rustix::param::page_size() as u64,
        })
    }
}

/// utime and stime, the 14th and 15th field; the second, the program's name, may itself hold blanks and brackets (proc(5)).
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_shift_what_it_uses() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 100 20 0 0";
        assert_eq!(cpu_ticks(stat), Some(120));
        assert_eq!(cpu_ticks("7 (a) R 1"), None);
    }

    #[test]
    fn a_process_can_be_asked_while_it_is_there() {
        let usage = Usage::of(&[std::process::id()]).expect("it is there");
        assert!(usage.expect("one was asked").resident_bytes > 100_000);
        assert!(Usage::of(&[u32::MAX]).is_err());
    }
}
