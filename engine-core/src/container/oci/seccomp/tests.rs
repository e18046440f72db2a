use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompOperator};
use proptest::prelude::*;

use super::*;
use crate::container::oci::tests::host;
use crate::error::ErrorKind;

/// What of a profile is left on a host of an architecture, with some capabilities.
fn left(profile: &Profile, capabilities: &[&str], architecture: &str, kernel: (u32, u32)) -> LinuxSeccomp {
    let has = |name: &str| capabilities.contains(&name);
    profile.for_container(&Circumstances { has: &has, architecture, kernel }).expect("well formed")
}

/// What happens to a call: the error number, 0 if it is made.
fn verdict(seccomp: &LinuxSeccomp, name: &str, arguments: &[u64]) -> u32 {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    for rule in seccomp.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|n| n == name)) {
        let holds = rule.args().iter().flatten().all(|a| match a.op() {
            LinuxSeccompOperator::ScmpCmpEq => argument(a.index()) == a.value(),
            LinuxSeccompOperator::ScmpCmpMaskedEq => Some(argument(a.index()) & a.value()) == a.value_two(),
            other => panic!("the default profile does not use {other}"),
        });
        if holds {
            let denied = rule.action() == LinuxSeccompAction::ScmpActErrno;
            return if denied { rule.errno_ret().unwrap_or(1) } else { 0 };
        }
    }
    assert_eq!(seccomp.default_action(), LinuxSeccompAction::ScmpActErrno);
    seccomp.default_errno_ret().unwrap_or(1)
}

/// Docker's default capabilities, as far as the profile asks for them.
const PLAIN: [&str; 1] = ["CAP_SYS_CHROOT"];

fn plain() -> LinuxSeccomp {
    left(&DEFAULT, &PLAIN, "amd64", (6, 1))
}

/// Every call of x86-64 up to Linux 6.18 that a plain container may not make, whatever its arguments.
const DENIED: &str = "
    _sysctl acct add_key afs_syscall bpf clock_settime create_module delete_module fanotify_init file_getattr
    file_setattr finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy getpmsg init_module
    io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
    lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind migrate_pages mount mount_setattr
    move_mount move_pages nfsservctl open_by_handle_at open_tree open_tree_attr perf_event_open pidfd_getfd
    pivot_root process_madvise putpmsg query_module quotactl quotactl_fd reboot request_key security set_mempolicy
    set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog tuxcall umount2
    unshare uprobe uselib userfaultfd ustat vhangup vserver";

#[test]
fn what_could_reach_the_host_is_denied() {
    let seccomp = plain();
    for name in DENIED.split_whitespace() {
        assert_eq!(verdict(&seccomp, name, &[]), 1, "{name}");
    }
}

#[test]
fn what_programs_need_is_allowed() {
    let seccomp = plain();
    for name in [
        "read",
        "execve",
        "openat2",
        "mmap",
        "futex",
        "futex_waitv",
        "epoll_pwait2",
        "statx",
        "clone",
        "fork",
        "chroot",
        "arch_prctl",
        "modify_ldt",
        "ptrace",
        "process_vm_readv",
        "rseq",
        "landlock_create_ruleset",
        "memfd_secret",
        "mseal",
        "statmount",
        "listmount",
        "setxattrat",
        "map_shadow_stack",
        "fchmodat2",
        "cachestat",
        "uretprobe",
        "name_to_handle_at",
        "pkey_alloc",
        "adjtimex",
        "seccomp",
        "socketcall",
        "ipc",
        "_llseek",
        "mknod",
    ] {
        assert_eq!(verdict(&seccomp, name, &[]), 0, "{name}");
    }
    let allowed = seccomp.syscalls().as_ref().and_then(|rules| rules.first()).map(|rule| rule.names().len());
    assert_eq!(allowed, Some(361));
    let architectures = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
    assert_eq!(seccomp.architectures().as_deref(), Some(architectures.as_slice()));
}

#[test]
fn new_namespaces_need_a_capability_and_clone3_does_not_exist_without() {
    const NEWUSER: u64 = 0x1000_0000;
    const NEWNS: u64 = 0x0002_0000;
    const VM_AND_THREAD: u64 = 0x0001_0f00;
    let seccomp = plain();
    for flags in
        [NEWUSER, NEWNS, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x2000_0000, 0x4000_0000, NEWUSER | 0x11]
    {
        assert_eq!(verdict(&seccomp, "clone", &[flags]), 1, "{flags:#x}");
    }
    assert_eq!(verdict(&seccomp, "clone", &[VM_AND_THREAD]), 0);
    assert_eq!(verdict(&seccomp, "clone", &[VM_AND_THREAD, NEWUSER]), 0);
    assert_eq!(verdict(&seccomp, "clone3", &[]), 38);
    let admin = left(&DEFAULT, &["CAP_SYS_ADMIN"], "amd64", (6, 1));
    for name in
        ["clone", "clone3", "unshare", "mount", "setns", "bpf", "syslog", "open_tree", "lsm_list_modules"]
    {
        assert_eq!(verdict(&admin, name, &[NEWUSER]), 0, "{name}");
    }
    let s390 = left(&DEFAULT, &PLAIN, "s390x", (6, 1));
    assert_eq!(verdict(&s390, "clone", &[NEWUSER]), 0);
    assert_eq!(verdict(&s390, "clone", &[0, NEWUSER]), 1);
}

#[test]
fn sockets_to_the_hypervisor_and_to_the_kernel_s_cryptography_are_refused() {
    let seccomp = plain();
    for family in 0..64u64 {
        let expected = u32::from(family == 38 || family == 40);
        assert_eq!(verdict(&seccomp, "socket", &[family]), expected, "{family}");
        // The kernel looks at 32 bits of the argument.
        assert_eq!(verdict(&seccomp, "socket", &[family | 0xffff_ffff_0000_0000]), expected, "{family}");
    }
}

#[test]
fn only_harmless_personalities_can_be_taken() {
    let seccomp = plain();
    for domain in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        assert_eq!(verdict(&seccomp, "personality", &[domain]), 0, "{domain:#x}");
    }
    // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, and more bits than there are.
    for domain in [0x4_0000, 0x40_0000, 1, 0x1_0000_0000] {
        assert_eq!(verdict(&seccomp, "personality", &[domain]), 1, "{domain:#x}");
    }
}

#[test]
fn each_capability_opens_its_calls_and_no_others() {
    for (capability, name) in [
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_MODULE", "init_module"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYS_RAWIO", "iopl"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
    ] {
        let seccomp = left(&DEFAULT, &[capability], "amd64", (6, 1));
        assert_eq!(verdict(&seccomp, name, &[]), 0, "{name}");
        assert_eq!(verdict(&plain(), name, &[]), 1, "{name}");
        assert_eq!(verdict(&seccomp, "mount", &[]), 1);
    }
    let without = left(&DEFAULT, &[], "amd64", (6, 1));
    assert_eq!(verdict(&without, "chroot", &[]), 1);
}

#[test]
fn rules_depend_on_kernel_and_architecture() {
    assert_eq!(verdict(&left(&DEFAULT, &[], "amd64", (4, 7)), "ptrace", &[]), 1);
    assert_eq!(verdict(&left(&DEFAULT, &[], "amd64", (4, 8)), "ptrace", &[]), 0);
    assert_eq!(verdict(&left(&DEFAULT, &[], "amd64", (4, 19)), "ptrace", &[]), 0);
    let arm = left(&DEFAULT, &[], "arm64", (6, 1));
    assert_eq!(verdict(&arm, "arch_prctl", &[]), 1);
    assert_eq!(verdict(&arm, "cacheflush", &[]), 0);
    let architectures = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];
    assert_eq!(arm.architectures().as_deref(), Some(architectures.as_slice()));
}

#[test]
fn a_profile_in_docker_s_format_is_read() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5, "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_FUTURE"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}
        ],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null, "comment": "old style", "includes": null},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_A", "CAP_B"]}},
            {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_A"], "minKernel": "5.0"}},
            {"names": ["bpf"], "action": "SCMP_ACT_KILL_PROCESS", "excludes": {"arches": ["arm64"]}}
        ], "unknown": {"member": [1]}
    }"#;
    let profile = Profile::parse(json.as_bytes()).expect("well formed");
    let seccomp = left(&profile, &["CAP_A", "CAP_B"], "amd64", (4, 9));
    assert_eq!(
        seccomp.architectures().as_deref(),
        Some([Arch::ScmpArchX86_64, Arch::ScmpArchX86].as_slice())
    );
    assert_eq!(verdict(&seccomp, "read", &[]), 0);
    assert_eq!((verdict(&seccomp, "socket", &[2]), verdict(&seccomp, "socket", &[3])), (0, 5));
    assert_eq!((verdict(&seccomp, "mount", &[]), verdict(&seccomp, "acct", &[])), (0, 5));
    let seccomp = left(&profile, &["CAP_B"], "arm64", (4, 9));
    assert_eq!((verdict(&seccomp, "mount", &[]), verdict(&seccomp, "acct", &[])), (5, 0));
    assert_eq!(verdict(&left(&profile, &["CAP_B"], "arm64", (5, 0)), "acct", &[]), 5);
    assert_eq!(seccomp.syscalls().as_ref().map(Vec::len), Some(3));
}

#[test]
fn what_is_no_profile_is_refused() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"defaultAction": "ALLOW"}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
            "archMap": [{"architecture": "SCMP_ARCH_X86"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1}]}]}"#,
    ] {
        let error = Profile::parse(bad.as_bytes()).expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
    }
    let long = " ".repeat(2 << 20);
    assert_eq!(Profile::parse(long.as_bytes()).expect_err("too long").kind(), ErrorKind::LimitExceeded);
}

#[test]
fn the_wish_says_which_profile() {
    let decided = |security: &SecuritySpec| {
        let capabilities = capabilities::decide(security, &host()).expect("known");
        decide(security, &capabilities, &host()).expect("well formed")
    };
    let mut security = SecuritySpec::default();
    assert!(decided(&security).is_some());
    security.privileged = true;
    assert_eq!(decided(&security), None);
    security.seccomp = Seccomp::Profile(r#"{"defaultAction": "SCMP_ACT_LOG"}"#.into());
    let action = decided(&security).map(|profile| profile.default_action());
    assert_eq!(action, Some(LinuxSeccompAction::ScmpActLog));
    let asking =
        r#"{"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/run/agent", "listenerMetadata": "word"}"#;
    security.seccomp = Seccomp::Profile(asking.into());
    let profile = decided(&security).expect("is one");
    assert_eq!(profile.listener_path().as_deref(), Some(std::path::Path::new("/run/agent")));
    assert_eq!(profile.listener_metadata().as_deref(), Some("word"));
    security.seccomp = Seccomp::Unconfined;
    assert_eq!(decided(&security), None);
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "\\PC{0,100}") {
        let _ = Profile::parse(&bytes);
        let _ = Profile::parse(format!(r#"{{"defaultAction": "SCMP_ACT_LOG", "syscalls": {text}}}"#).as_bytes());
    }
}
