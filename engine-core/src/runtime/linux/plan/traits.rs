//! What few programs ask of the kernel: scheduling, priorities, memory policy, personality and labels.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};

use engine_shim::plan::{self, Traits};

use crate::error::{Error, Result};

/// The kernel has no more processors, and no more nodes of memory.
const MOST_PROCESSORS: usize = 8192;
const MOST_NODES: usize = 1024;

/// Of the process by itself; what its container's configuration says besides is [added](of_container).
pub(super) fn traits(process: &Process) -> Result<Option<Traits>> {
    let affinity = process.exec_cpu_affinity().as_ref();
    let processors = |list: Option<&String>| match list.map(|list| list.trim()) {
        None | Some("") => Ok(Vec::new()),
        Some(list) => bits("the CPU affinity", list, MOST_PROCESSORS),
    };
    let traits = Traits {
        scheduler: process.scheduler().as_ref().map(scheduler).transpose()?,
        io_priority: process.io_priority().map(|priority| io_priority(&priority)).transpose()?,
        first_processors: processors(affinity.and_then(|affinity| affinity.initial().as_ref()))?,
        processors: processors(affinity.and_then(|affinity| affinity.cpu_affinity_final().as_ref()))?,
        apparmor: label("AppArmor profile", process.apparmor_profile())?,
        selinux: label("SELinux label", process.selinux_label())?,
        ..Traits::default()
    };
    Ok((traits != Traits::default()).then_some(traits))
}

/// Adds what the container's configuration says of all its processes.
pub(super) fn of_container(traits: &mut Option<Traits>, linux: &Linux) -> Result<()> {
    if let Some(policy) = linux.memory_policy() {
        traits.get_or_insert_default().memory_policy = Some(memory_policy(policy)?);
    }
    if let Some(wanted) = linux.personality() {
        traits.get_or_insert_default().personality = Some(personality(wanted)?);
    }
    Ok(())
}

fn scheduler(wanted: &Scheduler) -> Result<plan::Scheduler> {
    use LinuxSchedulerPolicy as P;
    let wrong = |reason: &str| Err(Error::invalid(format!("scheduler {}", wanted.policy()), reason));
    let (policy, real_time) = match wanted.policy() {
        P::SchedOther => (libc::SCHED_OTHER, false),
        P::SchedFifo => (libc::SCHED_FIFO, true),
        P::SchedRr => (libc::SCHED_RR, true),
        P::SchedBatch => (libc::SCHED_BATCH, false),
        P::SchedIso => return wrong("no kernel has it"),
        P::SchedIdle => (libc::SCHED_IDLE, false),
        P::SchedDeadline => (libc::SCHED_DEADLINE, false),
    };
    let (nice, priority) = (wanted.nice().unwrap_or(0), wanted.priority().unwrap_or(0));
    let deadline = [wanted.runtime(), wanted.deadline(), wanted.period()].map(|time| time.unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        return wrong("nice is not between -20 and 19");
    }
    if priority != 0 && !real_time {
        return wrong("only SCHED_FIFO and SCHED_RR have a priority");
    }
    let Ok(priority) = u32::try_from(priority) else { return wrong("its priority is below zero") };
    if deadline != [0; 3] && policy != libc::SCHED_DEADLINE {
        return wrong("only SCHED_DEADLINE has a runtime, a deadline and a period");
    }
    let flags = wanted.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    });
    Ok(plan::Scheduler {
        policy: policy as u32,
        flags: flags.fold(0, |all, flag| all | flag),
        nice,
        priority,
        deadline,
    })
}

fn io_priority(wanted: &LinuxIOPriority) -> Result<u16> {
    const CLASS_SHIFT: u16 = 13;
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(wanted.priority()) {
        Ok(priority @ 0..=7) => Ok(class << CLASS_SHIFT | priority),
        _ => Err(Error::invalid(
            format!("I/O priority {}", wanted.priority()),
            "it is not between 0, the highest, and 7",
        )),
    }
}

fn personality(wanted: &LinuxPersonality) -> Result<u32> {
    const PER_LINUX: u32 = 0;
    const PER_LINUX32: u32 = 8;
    if wanted.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::invalid("the personality", "the specification has no flags for it"));
    }
    Ok(match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    })
}

fn memory_policy(wanted: &LinuxMemoryPolicy) -> Result<(u32, Vec<u64>)> {
    use MemoryPolicyModeType as M;
    let mode = match wanted.mode() {
        M::MpolDefault => 0,
        M::MpolPreferred => 1,
        M::MpolBind => 2,
        M::MpolInterleave => 3,
        M::MpolLocal => 4,
        M::MpolPreferredMany => 5,
        M::MpolWeightedInterleave => 6,
    };
    let flags = wanted.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    });
    let nodes = match wanted.nodes().as_deref().map(str::trim) {
        None | Some("") => Vec::new(),
        Some(list) => bits("the nodes of the memory policy", list, MOST_NODES)?,
    };
    Ok((flags.fold(mode, |all, flag| all | flag), nodes))
}

fn label(noun: &str, label: &Option<String>) -> Result<String> {
    match label.as_deref().unwrap_or_default() {
        label if label.contains(['\0', '\n']) => {
            Err(Error::invalid(format!("{noun} {label:?}"), "it is not one line of text"))
        }
        label => Ok(label.to_owned()),
    }
}

/// A list like `0-3,7` as bits.
fn bits(noun: &str, list: &str, most: usize) -> Result<Vec<u64>> {
    let wrong = || Error::invalid(format!("{noun} {list:?}"), format!("it is not like 0-3,7, below {most}"));
    let mut bits: Vec<u64> = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < most);
        let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        bits.resize(bits.len().max(last / 64 + 1), 0);
        (first..=last).for_each(|bit| bits[bit / 64] |= 1 << (bit % 64));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).expect("is JSON")
    }

    #[test]
    fn lists_of_processors_become_bits() {
        assert_eq!(bits("list", "0-3,7", 8).expect("is a list"), [0b1000_1111]);
        assert_eq!(bits("list", "64, 1", 128).expect("is a list"), [2, 1]);
        for list in ["", "3-1", "8", "a", "1-", "-1", "0-99999999999"] {
            bits("list", list, 8).expect_err(list);
        }
    }

    #[test]
    fn scheduling_is_what_the_kernel_calls_it() {
        let plan = scheduler(&parsed(r#"{"policy":"SCHED_BATCH","nice":5}"#)).expect("is one");
        assert_eq!((plan.policy, plan.nice, plan.priority), (3, 5, 0));
        let plan = scheduler(&parsed(r#"{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3}"#))
            .expect("is one");
        assert_eq!((plan.policy, plan.deadline), (6, [1, 2, 3]));
        for wrong in [
            r#"{"policy":"SCHED_OTHER","nice":20}"#,
            r#"{"policy":"SCHED_OTHER","priority":1}"#,
            r#"{"policy":"SCHED_FIFO","priority":-1}"#,
            r#"{"policy":"SCHED_RR","period":1}"#,
            r#"{"policy":"SCHED_ISO"}"#,
        ] {
            scheduler(&parsed(wrong)).expect_err(wrong);
        }
        let io = |json: &str| io_priority(&parsed(json));
        assert_eq!(io(r#"{"class":"IOPRIO_CLASS_IDLE","priority":0}"#).expect("is one"), 3 << 13);
        assert_eq!(io(r#"{"class":"IOPRIO_CLASS_BE","priority":7}"#).expect("is one"), 2 << 13 | 7);
        io(r#"{"class":"IOPRIO_CLASS_BE","priority":8}"#).expect_err("is too low");
    }

    #[test]
    fn a_memory_policy_is_mode_flags_and_nodes() {
        let policy = parsed(r#"{"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_STATIC_NODES"]}"#);
        assert_eq!(memory_policy(&policy).expect("is one"), (2 | 1 << 15, vec![3]));
        personality(&parsed(r#"{"domain":"LINUX","flags":["ADDR_NO_RANDOMIZE"]}"#)).expect_err("has flags");
        assert_eq!(personality(&parsed(r#"{"domain":"LINUX32"}"#)).expect("is one"), 8);
    }
}
