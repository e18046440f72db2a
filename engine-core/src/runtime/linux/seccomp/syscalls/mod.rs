//! System calls by name, for each interface that a filter may have to do with.

mod aarch64;
mod arm;
mod x32;
mod x86;
mod x86_64;

/// An interface to the kernel: what calls it has, and how a filter tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    /// x86-64.
    X86_64,
    /// The 32-bit interface of x86-64. To a filter it is the same architecture, with a bit set in the call's number.
    X32,
    /// 32-bit x86.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

/// The bit of x32 in a call's number.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// Numbers from here on are private to 32-bit Arm, and not in the order in which calls were added to Linux.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

impl Interface {
    /// The interfaces of the machine this was built for, its own first. None if we know no table for it.
    pub(super) const NATIVE: &[Interface] = if cfg!(target_arch = "x86_64") {
        &[Interface::X86_64, Interface::X86, Interface::X32]
    } else if cfg!(target_arch = "aarch64") {
        &[Interface::Aarch64, Interface::Arm]
    } else if cfg!(target_arch = "x86") {
        &[Interface::X86]
    } else if cfg!(target_arch = "arm") {
        &[Interface::Arm]
    } else {
        &[]
    };

    /// `AUDIT_ARCH_*`, as the kernel calls the architecture.
    pub(super) fn audit(self) -> u32 {
        match self {
            Interface::X86_64 | Interface::X32 => 0xc000_003e,
            Interface::X86 => 0x4000_0003,
            Interface::Aarch64 => 0xc000_00b7,
            Interface::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits.
    pub(super) fn wide(self) -> bool {
        matches!(self, Interface::X86_64 | Interface::Aarch64)
    }

    /// The number of the call, if the interface has it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let table = self.table();
        let at = table.binary_search_by_key(&name, |(known, _)| known).ok()?;
        table.get(at).map(|(_, number)| *number)
    }

    /// For 32-bit x86, where sockets and System V IPC were one call each at first: that call, and its first argument
    /// for the call `name`.
    pub(super) fn multiplexed(self, name: &str) -> Option<(u32, u32)> {
        const SOCKETCALL: u32 = 102;
        const IPC: u32 = 117;
        // linux/net.h and linux/ipc.h.
        const CALLS: [(&str, u32, u32); 33] = [
            ("socket", SOCKETCALL, 1),
            ("bind", SOCKETCALL, 2),
            ("connect", SOCKETCALL, 3),
            ("listen", SOCKETCALL, 4),
            ("accept", SOCKETCALL, 5),
            ("getsockname", SOCKETCALL, 6),
            ("getpeername", SOCKETCALL, 7),
            ("socketpair", SOCKETCALL, 8),
            ("send", SOCKETCALL, 9),
            ("recv", SOCKETCALL, 10),
            ("sendto", SOCKETCALL, 11),
            ("recvfrom", SOCKETCALL, 12),
            ("shutdown", SOCKETCALL, 13),
            ("setsockopt", SOCKETCALL, 14),
            ("getsockopt", SOCKETCALL, 15),
            ("sendmsg", SOCKETCALL, 16),
            ("recvmsg", SOCKETCALL, 17),
            ("accept4", SOCKETCALL, 18),
            ("recvmmsg", SOCKETCALL, 19),
            ("sendmmsg", SOCKETCALL, 20),
            ("semop", IPC, 1),
            ("semget", IPC, 2),
            ("semctl", IPC, 3),
            ("semtimedop", IPC, 4),
            ("msgsnd", IPC, 11),
            ("msgrcv", IPC, 12),
            ("msgget", IPC, 13),
            ("msgctl", IPC, 14),
            ("shmat", IPC, 21),
            ("shmdt", IPC, 22),
            ("shmget", IPC, 23),
            ("shmctl", IPC, 24),
            ("recvmmsg_time64", SOCKETCALL, 19),
        ];
        if self != Interface::X86 {
            return None;
        }
        CALLS.iter().find(|(known, ..)| *known == name).map(|(_, call, first)| (*call, *first))
    }

    /// All calls, by name.
    pub(super) fn table(self) -> &'static [(&'static str, u32)] {
        match self {
            Interface::X86_64 => x86_64::TABLE,
            Interface::X32 => x32::TABLE,
            Interface::X86 => x86::TABLE,
            Interface::Aarch64 => aarch64::TABLE,
            Interface::Arm => arm::TABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interface; 5] =
        [Interface::X86_64, Interface::X32, Interface::X86, Interface::Aarch64, Interface::Arm];

    #[test]
    fn tables_are_in_order_so_that_every_call_is_found() {
        for interface in ALL {
            assert!(interface.table().is_sorted_by(|a, b| a.0 < b.0), "{interface:?}");
            for (name, number) in interface.table() {
                assert_eq!(interface.number(name), Some(*number));
                assert!(*number < 548 || interface == Interface::Arm && *number > ARM_PRIVATE, "{name}");
            }
            assert_eq!(interface.number("no_such_call"), None);
        }
    }

    #[test]
    fn well_known_calls_have_their_numbers() {
        for (name, numbers) in [
            ("read", [Some(0), Some(0), Some(3), Some(63), Some(3)]),
            ("execve", [Some(59), Some(520), Some(11), Some(221), Some(11)]),
            ("open", [Some(2), Some(2), Some(5), None, Some(5)]),
            ("clone3", [Some(435); 5]),
            ("statmount", [Some(457); 5]),
            ("listmount", [Some(458); 5]),
            ("lsm_list_modules", [Some(461); 5]),
            ("mseal", [Some(462); 5]),
            ("setxattrat", [Some(463); 5]),
            ("open_tree_attr", [Some(467); 5]),
            ("file_getattr", [Some(468); 5]),
        ] {
            assert_eq!(ALL.map(|interface| interface.number(name)), numbers, "{name}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_this_machine() {
        let native = Interface::NATIVE.first().expect("a machine with a table");
        for (name, number) in [
            ("clone", libc::SYS_clone),
            ("socket", libc::SYS_socket),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("openat2", libc::SYS_openat2),
            ("personality", libc::SYS_personality),
        ] {
            assert_eq!(native.number(name).map(i64::from), Some(number), "{name}");
        }
    }
}
