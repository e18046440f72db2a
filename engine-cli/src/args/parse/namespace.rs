//! `--pid`, `--ipc`, `--uts` and `--cgroupns`: whose namespaces a container is in.

use engine_core::spec::{IpcMode, NamespaceMode};

use super::{Parsed, reason};

/// `host` or `container:NAME`.
pub(crate) fn pid(text: &str) -> Parsed<NamespaceMode> {
    NamespaceMode::parse("PID", text).map_err(reason)
}

/// `host`.
pub(crate) fn uts(text: &str) -> Parsed<NamespaceMode> {
    of_nobody_else("UTS", text)
}

/// `host` or `private`.
pub(crate) fn cgroup(text: &str) -> Parsed<NamespaceMode> {
    of_nobody_else("cgroup", text)
}

/// `none`, `private`, `shareable`, `host` or `container:NAME`.
pub(crate) fn ipc(text: &str) -> Parsed<IpcMode> {
    text.parse().map_err(reason)
}

/// Docker shares this one with the host only.
fn of_nobody_else(noun: &str, text: &str) -> Parsed<NamespaceMode> {
    match NamespaceMode::parse(noun, text).map_err(reason)? {
        NamespaceMode::Container(_) => Err(format!("invalid {noun} mode: it cannot be another container's")),
        mode => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modes_are_docker_s() {
        assert_eq!(pid("container:web"), Ok(NamespaceMode::Container("web".into())));
        assert_eq!(uts("host"), Ok(NamespaceMode::Host));
        assert_eq!(cgroup("private"), Ok(NamespaceMode::Private));
        assert_eq!(ipc("shareable"), Ok(IpcMode::Shareable));
        assert!(uts("container:web").is_err() && cgroup("container:web").is_err());
        assert!(pid("container:").is_err() && pid("hots").is_err() && ipc("all").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(container:)?.{0,20}") {
            let _ = (pid(&text), uts(&text), cgroup(&text), ipc(&text));
        }
    }
}
