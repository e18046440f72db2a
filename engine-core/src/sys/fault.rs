//! Named points at which a test kills the process, to see what it leaves behind.

/// A point that the environment may name: with the feature `fault-points` and `ENGINE_FAULT=<name>`, the process
/// dies here as by `kill -9`. Otherwise it is nothing.
#[inline]
pub(crate) fn point(name: &str) {
    #[cfg(feature = "fault-points")]
    if std::env::var_os("ENGINE_FAULT").is_some_and(|wanted| wanted == name) {
        // A process that cannot kill itself would make the test pass for the wrong reason.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
    #[cfg(not(feature = "fault-points"))]
    let _ = name;
}
