//! Profiles in Docker's format: read, and reduced to what holds for one container.

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::{Deserialize, Deserializer};

use crate::container::oci::built;
use crate::container::oci::host::version;
use crate::error::{Error, ErrorKind, Result};

/// Docker's own has 17 kilobytes.
const LIMIT: usize = 1 << 20;

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    /// What happens to calls that no rule is about.
    pub(super) default_action: LinuxSeccompAction,
    /// The error number that it gives.
    #[serde(default)]
    pub(super) default_errno_ret: Option<u32>,
    /// The architectures it is about, or...
    #[serde(default, deserialize_with = "lenient")]
    pub(super) architectures: Vec<String>,
    /// ...those by the architecture of the host.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) arch_map: Vec<ArchitectureMap>,
    /// Flags for the kernel.
    #[serde(default)]
    pub(super) flags: Option<Vec<LinuxSeccompFilterFlag>>,
    /// The socket of whoever is asked about calls.
    #[serde(default)]
    pub(super) listener_path: Option<PathBuf>,
    /// What is said there besides.
    #[serde(default)]
    pub(super) listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) syscalls: Vec<Rule>,
}

/// An architecture, and the others that its machines run programs of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArchitectureMap {
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) sub_architectures: Vec<String>,
}

/// What happens to some calls, and when the rule holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    /// A single call, as very old profiles have it.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// The calls.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) names: Vec<String>,
    /// What happens to them.
    pub(super) action: LinuxSeccompAction,
    /// The error number that it gives.
    #[serde(default)]
    pub(super) errno_ret: Option<u32>,
    /// Conditions on arguments.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) args: Vec<Argument>,
    /// It holds only with all of these capabilities, on one of these architectures, on this kernel or a later one.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) includes: Filter,
    /// It does not hold with any of these capabilities, on any of these architectures, on this kernel or a later one.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) excludes: Filter,
}

/// A condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    /// Which one, from 0.
    #[serde(default)]
    pub(super) index: usize,
    /// What it is compared with; or the mask.
    #[serde(default)]
    pub(super) value: u64,
    /// What it is compared with under the mask.
    #[serde(default)]
    pub(super) value_two: u64,
    /// How.
    pub(super) op: LinuxSeccompOperator,
}

/// Circumstances that a rule names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    /// Capabilities, by full name.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) caps: Vec<String>,
    /// Architectures, in Go's words.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) arches: Vec<String>,
    /// A version of the kernel: `4.8`.
    #[serde(default)]
    pub(super) min_kernel: Option<String>,
}

/// What a rule may depend on.
pub(super) struct Circumstances<'a> {
    /// Whether the container has the capability.
    pub(super) has: &'a dyn Fn(&str) -> bool,
    /// The host's architecture, in Go's words.
    pub(super) architecture: &'a str,
    /// The kernel's version: major and minor.
    pub(super) kernel: (u32, u32),
}

impl Profile {
    /// Reads a profile.
    pub(super) fn parse(json: &[u8]) -> Result<Profile> {
        const SUBJECT: &str = "seccomp profile";
        if json.len() > LIMIT {
            return Err(Error::new(ErrorKind::LimitExceeded, SUBJECT)
                .because(format!("it is longer than {LIMIT} bytes")));
        }
        let profile: Profile = serde_json::from_slice(json).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, SUBJECT)
                .caused_by(e)
                .with_remedy("give a JSON document in the format of Docker's default profile")
        })?;
        if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
            return Err(Error::invalid(SUBJECT, "it has both \"architectures\" and \"archMap\"; use one"));
        }
        if profile.syscalls.iter().any(|rule| rule.name.is_some() && !rule.names.is_empty()) {
            return Err(Error::invalid(SUBJECT, "a rule of it has both \"name\" and \"names\"; use one"));
        }
        Ok(profile)
    }

    /// What is left of it for a container.
    pub(super) fn for_container(&self, circumstances: &Circumstances<'_>) -> Result<LinuxSeccomp> {
        let mut syscalls = Vec::with_capacity(self.syscalls.len());
        for rule in self.syscalls.iter().filter(|rule| rule.holds(circumstances)) {
            let args: Vec<LinuxSeccompArg> =
                rule.args.iter().copied().map(Argument::to_oci).collect::<Result<_>>()?;
            let mut syscall = LinuxSyscall::default();
            syscall
                .set_names(rule.name.iter().chain(&rule.names).cloned().collect())
                .set_action(rule.action)
                .set_errno_ret(rule.errno_ret)
                .set_args((!args.is_empty()).then_some(args));
            syscalls.push(syscall);
        }
        let mut seccomp = LinuxSeccomp::default();
        seccomp
            .set_default_action(self.default_action)
            .set_default_errno_ret(self.default_errno_ret)
            .set_architectures(Some(self.architectures(circumstances.architecture)))
            .set_flags(self.flags.clone())
            .set_listener_path(self.listener_path.clone())
            .set_listener_metadata(self.listener_metadata.clone())
            .set_syscalls(Some(syscalls));
        Ok(seccomp)
    }

    /// The architectures it is about on a host of `architecture`. Those that nobody knows are no architectures of it.
    fn architectures(&self, architecture: &str) -> Vec<Arch> {
        let native = match architecture {
            "amd64" => "SCMP_ARCH_X86_64",
            "386" => "SCMP_ARCH_X86",
            "arm64" => "SCMP_ARCH_AARCH64",
            "arm" => "SCMP_ARCH_ARM",
            "riscv64" => "SCMP_ARCH_RISCV64",
            "s390x" => "SCMP_ARCH_S390X",
            "ppc64le" => "SCMP_ARCH_PPC64LE",
            "loong64" | "loongarch64" => "SCMP_ARCH_LOONGARCH64",
            _ => "",
        };
        let mapped = self.arch_map.iter().find(|map| map.architecture == native);
        let mapped =
            mapped.into_iter().flat_map(|map| [&map.architecture].into_iter().chain(&map.sub_architectures));
        let named = self.architectures.iter().chain(mapped);
        named
            .filter_map(|name| serde_json::from_value(serde_json::Value::String(name.clone())).ok())
            .collect()
    }
}

impl Argument {
    fn to_oci(self) -> Result<LinuxSeccompArg> {
        let builder = LinuxSeccompArgBuilder::default().index(self.index).value(self.value);
        // Without its conditions a rule would hold always.
        built(builder.value_two(self.value_two).op(self.op).build())
    }
}

impl Rule {
    fn holds(&self, circumstances: &Circumstances<'_>) -> bool {
        let (includes, excludes) = (&self.includes, &self.excludes);
        let here = |arches: &[String]| arches.iter().any(|arch| arch == circumstances.architecture);
        let has = |capability: &String| (circumstances.has)(capability);
        let reached = |kernel: &String| circumstances.kernel >= version(kernel);
        includes.caps.iter().all(has)
            && (includes.arches.is_empty() || here(&includes.arches))
            && includes.min_kernel.as_ref().is_none_or(reached)
            && !excludes.caps.iter().any(has)
            && !here(&excludes.arches)
            && !excludes.min_kernel.as_ref().is_some_and(reached)
    }
}

/// A value, or the default for `null`.
fn lenient<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
