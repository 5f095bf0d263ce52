//! One core for the hub, another for the load, so that neither takes time from the other and two runs can be compared.

/// Two cores of those that this process may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    pub(super) hub: usize,
    pub(super) load: usize,
}

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::Context;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::Cores;

    impl Cores {
        /// The first two; none if there is only one.
        pub(in super::super) fn choose() -> anyhow::Result<Option<Self>> {
            let mine = sched_getaffinity(None).context("cannot tell which cores there are")?;
            let mut cores = (0..CpuSet::MAX_CPU).filter(|core| mine.is_set(*core));
            let two = cores.next().zip(cores.next());
            Ok(two.map(|(hub, load)| Self { hub, load }))
        }
    }

    /// Has this thread, and what it starts from now on, run on this core alone.
    pub(in super::super) fn pin_to(core: usize) -> anyhow::Result<()> {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).with_context(|| format!("cannot stay on core {core}"))
    }
}

#[cfg(target_os = "linux")]
pub(super) use self::linux::pin_to;

#[cfg(not(target_os = "linux"))]
impl Cores {
    /// None: other systems cannot be told where a thread runs.
    pub(super) fn choose() -> anyhow::Result<Option<Self>> {
        Ok(None)
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pin_to(_: usize) -> anyhow::Result<()> {
    Ok(())
}
