use std::process::Stdio;

use proptest::prelude::*;

use super::super::devices::{Exception, MAKE, READ, WRITE};
use super::*;

/// What the kernel would do with the program: the few instructions that it is made of.
fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0u64; 11];
    let mut at = 0usize;
    // Jumps lead forward only, so each instruction runs at most once.
    while let Some(word) = program.get(at) {
        let bytes = word.to_ne_bytes();
        let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
        let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
        let constant = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        at += 1;
        let mut jump = |condition: bool| {
            if condition {
                at = at.checked_add_signed(offset.into()).expect("a jump in range");
            }
        };
        match bytes[0] {
            LOAD_WORD => {
                assert_eq!(from, usize::from(CONTEXT));
                registers[to] = context[offset as usize / 4].into();
            }
            MOVE => registers[to] = registers[from],
            MOVE_CONSTANT => registers[to] = constant as u64,
            AND_CONSTANT => registers[to] = u64::from(registers[to] as u32 & constant as u32),
            SHIFT_RIGHT => registers[to] = u64::from(registers[to] as u32 >> constant),
            JUMP_UNLESS_EQUAL => jump(registers[to] as u32 != constant as u32),
            JUMP_IF_ZERO => jump(registers[to] as u32 == constant as u32),
            EXIT => return registers[usize::from(ANSWER)] != 0,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
    panic!("the program does not end");
}

/// The same by the words of the kernel's documentation.
fn expected(policy: &Policy, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
    let concerned = policy.exceptions.iter().any(|e| {
        let place = e.kind == kind
            && e.major.is_none_or(|wanted| wanted == major)
            && e.minor.is_none_or(|wanted| wanted == minor);
        let all = access & !e.access == 0;
        let part = access & e.access != 0;
        place && if policy.allow { part } else { all }
    });
    concerned != policy.allow
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, Just(u32::MAX), Just(0x8000_0000)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Block), Just(Kind::Char)]
}

prop_compose! {
    fn exception()(
        kind in kind(),
        major in prop::option::of(number()),
        minor in prop::option::of(number()),
        access in 1u8..8,
    ) -> Exception {
        Exception { kind, major, minor, access }
    }
}

proptest! {
    #[test]
    fn the_program_decides_as_the_policy_says(
        allow in any::<bool>(),
        exceptions in prop::collection::vec(exception(), 0..12),
        kind in kind(),
        access in 1u8..8,
        major in number(),
        minor in number(),
    ) {
        let policy = Policy { allow, exceptions };
        let word = if kind == Kind::Block { DEVICE_BLOCK } else { DEVICE_CHAR };
        let answer = run(&assemble(&policy), word.cast_unsigned(), access.into(), major, minor);
        prop_assert_eq!(answer, expected(&policy, kind, access, major, minor));
    }
}

#[test]
fn a_denied_device_may_still_be_made_where_only_that_is_allowed() {
    let policy = Policy {
        allow: false,
        exceptions: vec![
            Exception { kind: Kind::Char, major: None, minor: None, access: MAKE },
            Exception { kind: Kind::Char, major: Some(1), minor: Some(3), access: READ | WRITE | MAKE },
        ],
    };
    let program = assemble(&policy);
    assert!(run(&program, 2, MAKE.into(), 10, 229));
    assert!(!run(&program, 2, READ.into(), 10, 229));
    assert!(run(&program, 2, u32::from(READ | WRITE), 1, 3));
    assert!(!run(&program, 1, READ.into(), 1, 3));
    assert!(program.len() < 100);
}

/// The kernel's verifier is the judge; this host's tree of version 2 may have no controllers, but it has groups.
#[test]
fn the_kernel_accepts_the_program_and_obeys_it() {
    let Some(mount) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|mount| std::path::Path::new(mount).join("cgroup.controllers").exists())
    else {
        return;
    };
    let directory = format!("{mount}/engine-test-filter-{}", std::process::id());
    std::fs::create_dir(&directory).expect("makes the group");
    let mut made = super::super::tree::Made::default();
    made.note(directory.clone());
    let zero = Exception { kind: Kind::Char, major: Some(1), minor: Some(5), access: READ | WRITE };
    let policy = Policy { allow: false, exceptions: vec![zero] };
    if let Err(error) = put_in_force(&directory, &policy) {
        // An engine that is confined itself, or a kernel without the program type.
        assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Internal), "{error}");
        return;
    }
    let reads = |device: &str| {
        let script = format!("echo 0 > {directory}/cgroup.procs && head -c 1 {device}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        shell.status().expect("runs").success()
    };
    assert!(reads("/dev/zero"));
    assert!(!reads("/dev/urandom"));
    let urandom = Exception { minor: Some(9), ..zero };
    put_in_force(&directory, &Policy { allow: false, exceptions: vec![urandom] }).expect("replaces it");
    assert!(!reads("/dev/zero"));
    assert!(reads("/dev/urandom"));
    let group = File::open(&directory).expect("opens");
    assert_eq!(bpf::device_programs(group.as_fd()).expect("asks").len(), 1);
}
