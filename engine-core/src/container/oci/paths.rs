//! Paths of `/proc` and `/sys` that a container does not see, or cannot write: they show or change the host.

use serde_json::{Value, json};

use super::host::HostFacts;
use crate::spec::SecuritySpec;

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The same as docker shows them: nothing of this host's own; null for a privileged container.
pub(crate) fn shown(security: &SecuritySpec) -> (Value, Value) {
    match (security.privileged, security.unmask_system_paths) {
        (true, _) => (Value::Null, Value::Null),
        (false, true) => (json!([]), json!([])),
        (false, false) => (json!(MASKED), json!(READONLY)),
    }
}

/// The paths to hide and those to make read-only.
pub(super) fn decide(security: &SecuritySpec, host: &HostFacts) -> (Vec<String>, Vec<String>) {
    if security.privileged || security.unmask_system_paths {
        return (Vec::new(), Vec::new());
    }
    let masked = MASKED.iter().map(|path| (*path).to_owned()).chain(host.throttles.iter().cloned());
    (masked.collect(), READONLY.iter().map(|path| (*path).to_owned()).collect())
}
