//! Docker's default profile (that of Docker 28): what a container may do without being able to see or change the
//! host, and what needs a capability first.
//!
//! Two rules are tighter. `socket` looks at the 32 bits that the kernel looks at, so that a number with more bits set
//! is no way around; and it refuses AF_ALG beside AF_VSOCK, as later versions of Docker do: the kernel's cryptography
//! is in every libc's reach already, and its sockets have been a way to take over hosts.

use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompOperator};

use super::profile::{ArchitectureMap, Argument, Filter, Profile, Rule};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// All `CLONE_NEW*` but that of time, which clone(2) has no bit for.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// Allowed to every container.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
    _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
    prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed with a capability.
const WITH_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Allowed on some architectures.
const ON_ARCHITECTURE: [(&[&str], &str); 6] = [
    (&["ppc64le"], "sync_file_range2 swapcontext"),
    (
        &["arm", "arm64"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (&["s390", "s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Execution domains that are harmless: Linux and the 32-bit ones, each with the `uname` of 2.6 or not, and asking.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Masks and values, any of which is enough: together, every family of sockets (of which there are less than 64) but
/// AF_ALG, 38 or 100110 in binary, and AF_VSOCK, 40 or 101000. There is no way to say "none of these" in a profile.
const SOCKET_FAMILIES: [(u64, u64); 7] =
    [(0x20, 0), (0x10, 0x10), (0x01, 0x01), (0x0c, 0), (0x0c, 0x0c), (0x06, 0x02), (0x06, 0x04)];

/// The architectures whose machines run each other's programs.
const ARCHITECTURES: [(&str, &[&str]); 5] = [
    ("SCMP_ARCH_X86_64", &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    ("SCMP_ARCH_AARCH64", &["SCMP_ARCH_ARM"]),
    ("SCMP_ARCH_S390X", &["SCMP_ARCH_S390"]),
    ("SCMP_ARCH_RISCV64", &[]),
    ("SCMP_ARCH_LOONGARCH64", &[]),
];

/// The profile.
pub(super) fn profile() -> Profile {
    let mut syscalls = vec![allow(ALLOWED)];
    // Before 4.8 a tracer could change the call after it had been checked.
    syscalls.push(Rule {
        includes: Filter { min_kernel: Some("4.8".into()), ..Filter::default() },
        ..allow("process_vm_readv process_vm_writev ptrace")
    });
    for (mask, value) in SOCKET_FAMILIES {
        syscalls.push(Rule { args: masked(0, mask, value), ..allow("socket") });
    }
    for domain in PERSONALITIES {
        syscalls.push(Rule { args: equal(0, domain), ..allow("personality") });
    }
    for (arches, names) in ON_ARCHITECTURE {
        syscalls
            .push(Rule { includes: Filter { arches: owned(arches), ..Filter::default() }, ..allow(names) });
    }
    for (capability, names) in WITH_CAPABILITY {
        syscalls.push(Rule { includes: capabilities(capability), ..allow(names) });
    }
    // New namespaces are a way to new capabilities. The arguments of clone are in another order on s390.
    let s390 = owned(&["s390", "s390x"]);
    let without = capabilities("CAP_SYS_ADMIN");
    syscalls.push(Rule {
        args: masked(0, CLONE_NAMESPACES, 0),
        excludes: Filter { arches: s390.clone(), ..without.clone() },
        ..allow("clone")
    });
    syscalls.push(Rule {
        args: masked(1, CLONE_NAMESPACES, 0),
        includes: Filter { arches: s390, ..Filter::default() },
        excludes: without.clone(),
        ..allow("clone")
    });
    // The flags of clone3 are in memory, where a filter cannot look. Told that it does not exist, libraries use clone.
    syscalls.push(Rule {
        action: LinuxSeccompAction::ScmpActErrno,
        errno_ret: Some(ENOSYS),
        excludes: without,
        ..allow("clone3")
    });
    let map = |(architecture, others): (&str, &[&str])| ArchitectureMap {
        architecture: architecture.into(),
        sub_architectures: owned(others),
    };
    Profile {
        default_action: LinuxSeccompAction::ScmpActErrno,
        default_errno_ret: Some(EPERM),
        arch_map: ARCHITECTURES.map(map).into(),
        syscalls,
        ..Profile::default()
    }
}

fn allow(names: &str) -> Rule {
    Rule {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: LinuxSeccompAction::ScmpActAllow,
        ..Rule::default()
    }
}

fn capabilities(name: &str) -> Filter {
    Filter { caps: vec![name.into()], ..Filter::default() }
}

fn equal(index: usize, value: u64) -> Vec<Argument> {
    vec![Argument { index, value, value_two: 0, op: LinuxSeccompOperator::ScmpCmpEq }]
}

fn masked(index: usize, mask: u64, value_two: u64) -> Vec<Argument> {
    vec![Argument { index, value: mask, value_two, op: LinuxSeccompOperator::ScmpCmpMaskedEq }]
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
