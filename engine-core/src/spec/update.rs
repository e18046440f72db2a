//! Changing a container that there is.

use super::{Resources, RestartPolicy};

/// What to change of a container. What is `None` stays as it is; so does what is 0, as in docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateSpec {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Memory that is left to it when the host runs short, in bytes.
    pub memory_reservation: Option<u64>,
    /// Share of the processors relative to others.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// The period of the quota, in microseconds.
    pub cpu_period: Option<u64>,
    /// The period of real-time scheduling, in microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Microseconds of real-time scheduling in each period.
    pub cpu_rt_runtime: Option<i64>,
    /// Processors, in billionths.
    pub nano_cpus: Option<u64>,
    /// The processors it may run on.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes it may use.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and -1 are no limit.
    pub pids_limit: Option<i64>,
    /// Share of block I/O relative to others.
    pub blkio_weight: Option<u16>,
    /// When it is started again by itself.
    pub restart: Option<RestartPolicy>,
}

impl UpdateSpec {
    /// Without what asks for nothing; no limit of processes is always -1.
    fn given(&self) -> UpdateSpec {
        let mut given = self.clone();
        given.memory = given.memory.filter(|n| *n != 0);
        given.memory_swap = given.memory_swap.filter(|n| *n != 0);
        given.memory_reservation = given.memory_reservation.filter(|n| *n != 0);
        given.cpu_shares = given.cpu_shares.filter(|n| *n != 0);
        given.cpu_quota = given.cpu_quota.filter(|n| *n != 0);
        given.cpu_period = given.cpu_period.filter(|n| *n != 0);
        given.cpu_rt_period = given.cpu_rt_period.filter(|n| *n != 0);
        given.cpu_rt_runtime = given.cpu_rt_runtime.filter(|n| *n != 0);
        given.nano_cpus = given.nano_cpus.filter(|n| *n != 0);
        given.cpuset_cpus = given.cpuset_cpus.filter(|list| !list.is_empty());
        given.cpuset_mems = given.cpuset_mems.filter(|list| !list.is_empty());
        given.blkio_weight = given.blkio_weight.filter(|n| *n != 0);
        given.pids_limit = given.pids_limit.map(|limit| if limit <= 0 { -1 } else { limit });
        given
    }

    /// The limits after the change of `old`; and those of them that are to be put in force, which are whole where the
    /// kernel has several in one.
    ///
    /// # Errors
    /// In docker's words, what contradicts a limit that there is.
    pub(crate) fn applied(&self, old: &Resources) -> Result<(Resources, Resources), &'static str> {
        let wanted = self.given();
        let (mut all, mut changed) = (old.clone(), Resources::default());
        let (quota, period) = (old.cpu_quota.unwrap_or(0), old.cpu_period.unwrap_or(0));
        if wanted.nano_cpus.is_some() && period > 0 {
            return Err(
                "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
            );
        }
        if wanted.nano_cpus.is_some() && quota > 0 {
            return Err("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
        }
        if wanted.cpu_period.is_some() && old.nano_cpus.is_some() {
            return Err("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
        }
        if wanted.cpu_quota.is_some() && old.nano_cpus.is_some() {
            return Err("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
        }
        if let Some(memory) = wanted.memory {
            // Without a word of it, it was as much again as the memory, and stays that.
            all.memory_swap =
                old.memory_swap.or(old.memory.and_then(|old| i64::try_from(old.saturating_mul(2)).ok()));
            let too_much = all.memory_swap.is_some_and(|both| both >= 0 && memory > both.cast_unsigned());
            if too_much && wanted.memory_swap.is_none() {
                return Err(
                    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
                );
            }
            all.memory = Some(memory);
        }
        all.memory_swap = wanted.memory_swap.or(all.memory_swap);
        all.memory_reservation = wanted.memory_reservation.or(all.memory_reservation);
        if wanted.memory.is_some() || wanted.memory_swap.is_some() {
            (changed.memory, changed.memory_swap) = (all.memory, all.memory_swap);
        }
        changed.memory_reservation = wanted.memory_reservation;
        if wanted.cpu_quota.is_some() || wanted.cpu_period.is_some() {
            all.cpu_quota = wanted.cpu_quota.or(all.cpu_quota);
            all.cpu_period = wanted.cpu_period.or(all.cpu_period);
            (changed.cpu_quota, changed.cpu_period) = (all.cpu_quota, all.cpu_period);
        }
        macro_rules! change {
            ($($field:ident),+) => {$(
                if wanted.$field.is_some() {
                    all.$field.clone_from(&wanted.$field);
                    changed.$field.clone_from(&wanted.$field);
                }
            )+};
        }
        change!(
            cpu_shares,
            cpu_rt_period,
            cpu_rt_runtime,
            nano_cpus,
            cpuset_cpus,
            cpuset_mems,
            pids_limit,
            blkio_weight
        );
        Ok((all, changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn applied(
        old: impl FnOnce(&mut Resources),
        new: impl FnOnce(&mut UpdateSpec),
    ) -> (Resources, Resources) {
        let (mut resources, mut update) = (Resources::default(), UpdateSpec::default());
        old(&mut resources);
        new(&mut update);
        update.applied(&resources).expect("sound")
    }

    #[test]
    fn what_is_not_named_stays() {
        let old = |r: &mut Resources| (r.memory, r.cpu_shares) = (Some(8 * MIB), Some(512));
        let (all, changed) = applied(old, |u| (u.cpu_shares, u.memory) = (Some(256), Some(0)));
        assert_eq!((all.memory, all.memory_swap, all.cpu_shares), (Some(8 * MIB), None, Some(256)));
        assert_eq!(changed, Resources { cpu_shares: Some(256), ..Resources::default() });
        let (all, changed) = applied(old, |u| u.pids_limit = Some(0));
        assert_eq!((all.pids_limit, changed.pids_limit), (Some(-1), Some(-1)));
        assert_eq!(applied(old, |_| {}).1, Resources::default());
    }

    #[test]
    fn limits_that_are_one_to_the_kernel_are_put_in_force_together() {
        let (_, changed) = applied(|r| r.memory = Some(8 * MIB), |u| u.memory_swap = Some(20 << 20));
        assert_eq!((changed.memory, changed.memory_swap), (Some(8 * MIB), Some(20 << 20)));
        let (_, changed) = applied(|r| r.cpu_quota = Some(5000), |u| u.cpu_period = Some(20_000));
        assert_eq!((changed.cpu_quota, changed.cpu_period), (Some(5000), Some(20_000)));
    }

    #[test]
    fn swap_stays_where_it_was() {
        let (all, _) = applied(|r| r.memory = Some(10 * MIB), |u| u.memory = Some(20 * MIB));
        assert_eq!((all.memory, all.memory_swap), (Some(20 * MIB), Some(20 << 20)));
        let (all, _) = applied(|r| r.memory_swap = Some(-1), |u| u.memory = Some(20 * MIB));
        assert_eq!((all.memory, all.memory_swap), (Some(20 * MIB), Some(-1)));
        let (all, changed) = applied(|_| {}, |u| u.memory = Some(20 * MIB));
        assert_eq!((all.memory_swap, changed.memory), (None, Some(20 * MIB)), "as when it is created so");
    }

    #[test]
    fn contradictions_are_told_in_docker_s_words() {
        type Old = fn(&mut Resources);
        type New = fn(&mut UpdateSpec);
        let refused: [(Old, New, &str); 5] = [
            (|r| r.memory = Some(10 << 20), |u| u.memory = Some(21 << 20), "already set memoryswap"),
            (|r| r.cpu_period = Some(5000), |u| u.nano_cpus = Some(1), "CPU Period has already been set"),
            (|r| r.cpu_quota = Some(5000), |u| u.nano_cpus = Some(1), "CPU Quota has already been set"),
            (|r| r.nano_cpus = Some(1), |u| u.cpu_period = Some(5000), "CPU Period cannot be updated"),
            (|r| r.nano_cpus = Some(1), |u| u.cpu_quota = Some(5000), "CPU Quota cannot be updated"),
        ];
        for (old, new, reason) in refused {
            let (mut resources, mut update) = (Resources::default(), UpdateSpec::default());
            old(&mut resources);
            new(&mut update);
            assert!(update.applied(&resources).expect_err(reason).contains(reason));
        }
    }
}
