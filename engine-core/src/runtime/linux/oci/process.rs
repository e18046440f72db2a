//! What procfs says of a process: whether it lives, and whether it is still the same one.

use crate::error::{Result, Subject};

/// When the process began, in ticks since the host did; `None` if it is gone or only waits to be reaped. A number is
/// given to another process one day; with this it is not taken for the one that had it.
pub(super) fn begin(pid: u32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/stat");
    let stat = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound || is_gone(&e) => return Ok(None),
        stat => stat.subject(|| path)?,
    };
    // The name in parentheses may hold anything; what follows the last of them are state, parent, and so on.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next().unwrap_or("X");
    if matches!(state, "Z" | "X") {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|ticks| ticks.parse().ok()))
}

/// It went away while it was read.
fn is_gone(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_beginning_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let begun = begin(child.id()).expect("reads");
        assert!(begun.is_some_and(|ticks| ticks > 0));
        assert_eq!(begin(child.id()).expect("reads"), begun);
        child.kill().expect("kills");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(begin(child.id()).expect("reads"), None, "a zombie is gone");
        child.wait().expect("ends");
        assert_eq!(begin(child.id()).expect("reads"), None);
    }
}
