//! The entry of the helper program: leaves its starter, and becomes what the first frame says.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::control::receive_frame;
use crate::failure::{Result, Step, failure};
use crate::plan::INIT;
use crate::plan::{ContainerPlan, ExecPlan};
use crate::wire::{Cause, Kind, VERSION};
use crate::{builder, control, exec, hooks, monitor, reaper, sys};

/// Runs the helper program; gives its exit code.
///
/// The control socket is standard input. The process forks at once and ends: its starter reaps it and keeps no child,
/// and what goes on is a child of whoever takes in orphans.
///
/// # Safety
/// Both are arrays of C strings with a null pointer at their end, and live as long as the program.
#[expect(unsafe_code, reason = "the C library hands over bare pointers")]
pub unsafe fn main(args: *const *const libc::c_char, env: *const *const libc::c_char) -> i32 {
    // SAFETY: the caller's promise.
    let args = unsafe { sys::strings(args) };
    if let Some((INIT, program)) = args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        // SAFETY: likewise.
        return reaper::run(program, unsafe { sys::strings(env) });
    }
    // A container may start this program too, through `/proc/self/exe`: it is nobody's helper there.
    if !sys::is_socket(sys::stdin()) {
        return 1;
    }
    // What its starter left open for its children is not meant for a container.
    if sys::close_all_but(&[]).is_err() {
        return 1;
    }
    match sys::fork() {
        Ok(Some(_)) => return 0,
        Ok(None) => {}
        Err(_) => return 1,
    }
    // Nor is what its starter had set up: a signal that is ignored stays so, and a mask cuts modes.
    sys::reset_signals();
    sys::ignore_signals();
    sys::umask(0o022);
    let _ = rustix::process::setsid();
    // For lists of processes, where the name of a program in memory is a number.
    let _ = rustix::thread::set_name(c"engine-shim");
    match run() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn run() -> Result<()> {
    // Away from the number that a child's standard input will have.
    let control =
        rustix::io::fcntl_dupfd_cloexec(sys::control_socket(), 3).step("keep", "the control socket")?;
    // The copy is open, so the null device takes the number that the socket had, or one beyond it.
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .step("open", "/dev/null")?;
    for number in 0..3 {
        sys::dup_to(&null, number).step("set up", "the standard streams")?;
    }
    sys::keep_standard(null);
    let Some(frame) = receive_frame(&control).step("receive", "the plan")? else {
        return Ok(());
    };
    let plan = frame
        .payload
        .split_first_chunk::<4>()
        .filter(|(version, _)| u32::from_be_bytes(**version) == VERSION)
        .map(|(_, plan)| plan);
    let misunderstood = || {
        let failure = failure(Cause::Plan, Errno::PROTO, "the plan is not of this program's version", "");
        let _ = control::send_frame(&control, Kind::Failed, &failure.encode(), &[]);
        Ok(())
    };
    let Some(plan) = plan else { return misunderstood() };
    match Kind::from_byte(frame.kind) {
        Some(Kind::PlanContainer) => match postcard::from_bytes::<ContainerPlan>(plan) {
            Ok(plan) if plan.direct.is_some() => builder::run(control, &plan, frame.descriptors),
            Ok(plan) => {
                drop(frame.payload);
                monitor::run(control, plan, frame.descriptors);
            }
            Err(_) => return misunderstood(),
        },
        Some(Kind::PlanHooks) => match postcard::from_bytes(plan) {
            Ok(plan) => {
                let _ = match hooks::run_plan(&plan) {
                    Ok(()) => control::send_frame(&control, Kind::Done, &0i32.to_be_bytes(), &[]),
                    Err(failure) => control::send_frame(&control, Kind::Failed, &failure.encode(), &[]),
                };
            }
            Err(_) => return misunderstood(),
        },
        Some(Kind::PlanExec) => match postcard::from_bytes::<ExecPlan>(plan) {
            Ok(plan) if plan.direct.is_some() => exec::run_direct(&control, &plan, frame.descriptors),
            Ok(plan) => exec::run(control, &plan, frame.descriptors),
            Err(_) => return misunderstood(),
        },
        _ => return misunderstood(),
    }
    Ok(())
}
