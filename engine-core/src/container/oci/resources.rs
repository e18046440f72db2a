//! Limits: checked as Docker checks them, and put into the words of the specification.

use std::fmt;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use super::built;
use super::cpus::Cpus;
use super::devices::HostDevices;
use super::host::HostFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{DeviceRate, Resources};

/// With less a container's first process cannot start.
const LEAST_MEMORY: u64 = 6 << 20;
/// The period that `nano_cpus` is a share of, in microseconds.
const PERIOD: u64 = 100_000;

/// The limits in the words of the specification, devices excepted.
///
/// # Errors
/// [`ErrorKind::InvalidInput`], naming the limit that contradicts itself, another limit or the host.
pub(crate) fn limits(
    resources: &Resources,
    host: &HostFacts,
    devices: &HostDevices,
) -> Result<LinuxResources> {
    let mut limits = LinuxResources::default();
    limits
        .set_devices(None)
        .set_memory(memory(resources, host)?)
        .set_cpu(cpu(resources, host)?)
        .set_pids(pids(resources))
        .set_block_io(block_io(resources, devices)?);
    Ok(limits)
}

fn memory(resources: &Resources, host: &HostFacts) -> Result<Option<LinuxMemory>> {
    // Zero is "not given", as in Docker.
    let given = |value: Option<u64>| value.filter(|value| *value != 0);
    let (limit, reservation) = (given(resources.memory), given(resources.memory_reservation));
    let swap = resources.memory_swap.filter(|swap| *swap != 0);
    if limit.is_some_and(|limit| limit < LEAST_MEMORY) {
        return Err(wrong("memory limit", limit, "the minimum is 6 MiB"));
    }
    if reservation.is_some_and(|reservation| reservation < LEAST_MEMORY) {
        return Err(wrong("memory reservation", reservation, "the minimum is 6 MiB"));
    }
    if let (Some(limit), Some(reserved)) = (limit, reservation)
        && limit < reserved
    {
        return Err(wrong("memory reservation", reservation, "it must not be more than the memory limit"));
    }
    let swap = match (limit, swap) {
        (_, Some(-1)) => Some(-1),
        (_, Some(both)) if both < 0 => {
            return Err(wrong("memory and swap limit", swap, "it is a size or -1"));
        }
        (None, Some(_)) => {
            return Err(wrong("memory and swap limit", swap, "it needs a memory limit to go with it"));
        }
        (Some(limit), Some(both)) if both.cast_unsigned() < limit => {
            return Err(wrong("memory and swap limit", swap, "it must not be less than the memory limit"));
        }
        (Some(limit), None) => Some(bytes("memory limit", limit)?.saturating_mul(2)),
        (_, swap) => swap,
    };
    if resources.memory_swappiness.is_some_and(|swappiness| swappiness > 100) {
        return Err(wrong("memory swappiness", resources.memory_swappiness, "it is from 0 to 100"));
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limit.map(|limit| bytes("memory limit", limit)).transpose()?)
        .set_reservation(reservation.map(|size| bytes("memory reservation", size)).transpose()?)
        .set_swap(swap);
    if !host.cgroup_v2 {
        // Version 2 has neither; Docker warns, and goes on without.
        memory
            .set_swappiness(resources.memory_swappiness)
            .set_disable_oom_killer(resources.oom_kill_disable.then_some(true));
    }
    Ok((memory != LinuxMemory::default()).then_some(memory))
}

fn cpu(resources: &Resources, host: &HostFacts) -> Result<Option<LinuxCpu>> {
    let nano = resources.nano_cpus.filter(|nano| *nano != 0);
    let (mut quota, mut period) =
        (resources.cpu_quota.filter(|n| *n != 0), resources.cpu_period.filter(|n| *n != 0));
    if let Some(nano) = nano {
        if quota.is_some() || period.is_some() {
            return Err(wrong(
                "number of CPUs",
                Some(Nano(nano)),
                "it cannot be set with a CPU quota or period",
            ));
        }
        let most = host.cpus.count();
        if nano > most.saturating_mul(1_000_000_000) || nano < 10_000_000 {
            let reason = format!("it is from 0.01 to {most}, as there are only {most} CPUs available");
            return Err(wrong("number of CPUs", Some(Nano(nano)), &reason));
        }
        // At most 100 000 for each processor.
        quota = i64::try_from(u128::from(nano) * u128::from(PERIOD) / 1_000_000_000).ok();
        period = Some(PERIOD);
    }
    if period.is_some_and(|period| !(1_000..=1_000_000).contains(&period)) {
        return Err(wrong("CPU period", period, "it is from 1 ms (1000) to 1 s (1000000)"));
    }
    if quota.is_some_and(|quota| (1..1_000).contains(&quota)) {
        return Err(wrong("CPU quota", quota, "it is at least 1 ms (1000)"));
    }
    let (rt_runtime, rt_period) =
        (resources.cpu_rt_runtime.filter(|n| *n != 0), resources.cpu_rt_period.filter(|n| *n != 0));
    if (rt_runtime.is_some() || rt_period.is_some()) && !host.realtime {
        return Err(Error::new(ErrorKind::Unsupported, "CPU real-time limits")
            .because("your kernel does not support CPU real-time scheduler"));
    }
    if let (Some(runtime), Some(period)) = (rt_runtime, rt_period)
        && runtime.cast_unsigned() > period
    {
        let reason = "cpu real-time runtime cannot be higher than cpu real-time period";
        return Err(wrong("CPU real-time runtime", Some(runtime), reason));
    }
    let cpus = list("CPUs", resources.cpuset_cpus.as_deref(), &host.cpus)?;
    let mems = list("memory nodes", resources.cpuset_mems.as_deref(), &host.memory_nodes)?;
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(resources.cpu_shares.filter(|shares| *shares != 0))
        .set_quota(quota)
        .set_period(period)
        .set_realtime_runtime(rt_runtime)
        .set_realtime_period(rt_period)
        .set_cpus(cpus)
        .set_mems(mems);
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

fn pids(resources: &Resources) -> Option<LinuxPids> {
    let limit = resources.pids_limit.filter(|limit| *limit != 0)?;
    let mut pids = LinuxPids::default();
    pids.set_limit(limit.max(-1));
    Some(pids)
}

fn block_io(resources: &Resources, devices: &HostDevices) -> Result<Option<LinuxBlockIo>> {
    let weight = |weight: u16| match weight {
        0 | 10..=1000 => Ok(weight),
        _ => Err(wrong("block I/O weight", Some(weight), "it is from 10 to 1000")),
    };
    let rates = |rates: &[DeviceRate]| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let mut throttles = Vec::with_capacity(rates.len());
        for rate in rates {
            let (major, minor) = devices.numbers(&rate.path)?;
            let builder = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate.rate);
            throttles.push(built(builder.build())?);
        }
        Ok((!throttles.is_empty()).then_some(throttles))
    };
    let mut weights = Vec::with_capacity(resources.blkio_weight_device.len());
    for device in &resources.blkio_weight_device {
        let (major, minor) = devices.numbers(&device.path)?;
        let builder = LinuxWeightDeviceBuilder::default().major(major).minor(minor);
        weights.push(built(builder.weight(weight(device.weight)?).build())?);
    }
    let mut block = LinuxBlockIo::default();
    block
        .set_weight(resources.blkio_weight.map(weight).transpose()?.filter(|weight| *weight != 0))
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(rates(&resources.device_read_bps)?)
        .set_throttle_write_bps_device(rates(&resources.device_write_bps)?)
        .set_throttle_read_iops_device(rates(&resources.device_read_iops)?)
        .set_throttle_write_iops_device(rates(&resources.device_write_iops)?);
    Ok((block != LinuxBlockIo::default()).then_some(block))
}

fn wrong(limit: &str, value: Option<impl fmt::Display>, reason: &str) -> Error {
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    Error::invalid(format!("{limit}{value}"), reason)
}

fn bytes(limit: &str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| wrong(limit, Some(value), "there is no such amount of memory"))
}

/// Billionths of a processor, as people count them.
struct Nano(u64);

impl fmt::Display for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1e9)
    }
}

/// A list of processors or memory nodes that the host has.
fn list(noun: &str, text: Option<&str>, available: &Cpus) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wanted: Cpus = text.parse().map_err(|e: Error| e.with_remedy("write it like 0-3,5"))?;
    match wanted.is_within(available) {
        true => Ok(Some(text.to_owned())),
        false => Err(Error::new(ErrorKind::InvalidInput, format!("{noun} {text}"))
            .because(format!("they are not available; this host has {available}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::oci::tests::host;

    const MIB: u64 = 1 << 20;

    fn decided(change: impl FnOnce(&mut Resources)) -> Result<LinuxResources> {
        let mut resources = Resources::default();
        change(&mut resources);
        limits(&resources, &host(), &HostDevices::default())
    }

    fn memory_of(change: impl FnOnce(&mut Resources)) -> (Option<i64>, Option<i64>) {
        let limits = decided(change).expect("well formed");
        limits.memory().map_or((None, None), |memory| (memory.limit(), memory.swap()))
    }

    #[test]
    fn nothing_asked_for_limits_nothing() {
        assert_eq!(decided(|_| {}).expect("well formed"), {
            let mut none = LinuxResources::default();
            none.set_devices(None);
            none
        });
        let zeros = decided(|r| {
            r.memory = Some(0);
            r.memory_swap = Some(0);
            r.cpu_quota = Some(0);
            r.nano_cpus = Some(0);
            r.pids_limit = Some(0);
            r.blkio_weight = Some(0);
            r.cpuset_cpus = Some(String::new());
        });
        assert_eq!(zeros.expect("well formed"), decided(|_| {}).expect("well formed"));
    }

    #[test]
    fn swap_is_as_much_again_as_memory() {
        assert_eq!(memory_of(|r| r.memory = Some(8 * MIB)), (Some(8 << 20), Some(16 << 20)));
        let both = |memory, swap| memory_of(|r| (r.memory, r.memory_swap) = (memory, swap));
        assert_eq!(both(Some(8 * MIB), Some(-1)), (Some(8 << 20), Some(-1)));
        assert_eq!(both(Some(8 * MIB), Some(8 << 20)), (Some(8 << 20), Some(8 << 20)));
        assert_eq!(both(None, Some(-1)), (None, Some(-1)));
    }

    #[test]
    fn memory_limits_that_cannot_be_are_refused() {
        type Change = fn(&mut Resources);
        let refused: [(Change, &str); 9] = [
            (|r| r.memory = Some(6 * MIB - 1), "6 MiB"),
            (|r| r.memory = Some(u64::MAX), "no such amount"),
            (|r| r.memory_swap = Some(1 << 30), "needs a memory limit"),
            (|r| (r.memory, r.memory_swap) = (Some(8 * MIB), Some(7 << 20)), "less than the memory limit"),
            (|r| r.memory_swap = Some(-2), "a size or -1"),
            (|r| r.memory_reservation = Some(MIB), "6 MiB"),
            (
                |r| (r.memory, r.memory_reservation) = (Some(8 * MIB), Some(9 * MIB)),
                "more than the memory limit",
            ),
            (|r| r.memory_swappiness = Some(101), "0 to 100"),
            (|r| r.blkio_weight = Some(9), "10 to 1000"),
        ];
        for (change, reason) in refused {
            let error = decided(change).expect_err(reason);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn processors_are_a_quota_of_a_period() {
        let of = |nano| {
            let limits = decided(|r| r.nano_cpus = Some(nano)).expect("well formed");
            limits.cpu().as_ref().and_then(|cpu| Some((cpu.quota()?, cpu.period()?)))
        };
        assert_eq!(of(1_500_000_000), Some((150_000, 100_000)));
        assert_eq!(of(10_000_000), Some((1_000, 100_000)));
        assert_eq!(of(4_000_000_000), Some((400_000, 100_000)));
        for nano in [1, 9_999_999, 4_000_000_001, u64::MAX] {
            let error = decided(|r| r.nano_cpus = Some(nano)).expect_err("out of range");
            assert!(error.to_string().contains("only 4 CPUs"), "{error}");
        }
        assert!(decided(|r| (r.nano_cpus, r.cpu_quota) = (Some(1_000_000_000), Some(5_000))).is_err());
        assert!(decided(|r| (r.nano_cpus, r.cpu_period) = (Some(1_000_000_000), Some(5_000))).is_err());
        for period in [999, 1_000_001, u64::MAX] {
            assert!(decided(|r| r.cpu_period = Some(period)).is_err(), "{period}");
        }
        assert!(decided(|r| r.cpu_quota = Some(999)).is_err());
        assert!(decided(|r| r.cpu_quota = Some(-1)).is_ok());
    }

    #[test]
    fn processors_are_those_that_the_host_has() {
        let of = |text: &str| decided(|r| r.cpuset_cpus = Some(text.into()));
        for good in ["0", "0-3", "1,3", "0-1,2-3", "3,0-2", "1,1"] {
            let limits = of(good).expect(good);
            assert_eq!(limits.cpu().as_ref().and_then(|cpu| cpu.cpus().clone()).as_deref(), Some(good));
        }
        for bad in
            ["4", "0-4", "-1", "0-", "a", "1-0", ",", "0,,1", "0-4294967295", "0-99999999999", "0x1", "1;2"]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(of("9").expect_err("not there").to_string().contains("this host has 0-3"));
        assert!(decided(|r| r.cpuset_mems = Some("1".into())).is_err());
        assert!(of(&"0,".repeat(5000)).is_err());
    }

    #[test]
    fn a_number_of_processes_is_a_limit_or_none() {
        let of = |limit| {
            let limits = decided(|r| r.pids_limit = Some(limit)).expect("well formed");
            limits.pids().as_ref().map(LinuxPids::limit)
        };
        assert_eq!((of(0), of(-1), of(-9), of(100)), (None, Some(-1), Some(-1), Some(100)));
    }

    #[test]
    fn version_2_has_no_swappiness() {
        let mut host = host();
        let resources =
            Resources { memory_swappiness: Some(10), oom_kill_disable: true, ..Resources::default() };
        let one = limits(&resources, &host, &HostDevices::default()).expect("well formed");
        assert_eq!(one.memory().as_ref().and_then(|memory| memory.swappiness()), Some(10));
        host.cgroup_v2 = true;
        let two = limits(&resources, &host, &HostDevices::default()).expect("well formed");
        assert_eq!(two.memory(), &None);
    }
}
