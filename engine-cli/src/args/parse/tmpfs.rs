//! `--tmpfs TARGET[:options]`.

use engine_core::spec::{MountKind, MountSpec, TmpfsSpec};

use super::Parsed;
use super::size::size;
use super::volume::absolute_target;

/// An octal mode, at most four digits.
pub(crate) fn mode(text: &str) -> Parsed<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => Ok(mode),
        _ => Err(format!("mode {text:?} is not an octal number of up to four digits")),
    }
}

/// A file system in memory. As with docker, nothing on it can be executed unless it says `exec`.
pub(crate) fn tmpfs(text: &str) -> Parsed<MountSpec> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let target = absolute_target(target)?;
    let mut tmpfs = TmpfsSpec::default();
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        let id = |value: &str| value.parse::<u32>().map_err(|_| format!("{key} {value:?} is not a number"));
        match (key, value) {
            ("ro", None) => read_only = true,
            ("rw", None) => read_only = false,
            ("exec", None) => tmpfs.exec = true,
            ("noexec", None) => tmpfs.exec = false,
            ("nosuid" | "nodev", None) => {}
            ("size", Some(value)) => tmpfs.size = Some(size(value)?),
            ("mode", Some(value)) => tmpfs.mode = Some(mode(value)?),
            ("uid", Some(value)) => tmpfs.uid = Some(id(value)?),
            ("gid", Some(value)) => tmpfs.gid = Some(id(value)?),
            _ => {
                return Err(format!(
                    "option {option:?} is not supported; use ro, rw, exec, noexec, size=, mode=, uid= or gid="
                ));
            }
        }
    }
    Ok(MountSpec { target, read_only, kind: MountKind::Tmpfs(tmpfs) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (MountSpec, TmpfsSpec) {
        let mount = tmpfs(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let MountKind::Tmpfs(kind) = mount.kind.clone() else { panic!("{text}: not a tmpfs") };
        (mount, kind)
    }

    #[test]
    fn options_are_those_of_mount() {
        let (mount, kind) = parsed("/run:rw,exec,size=64m,mode=1770,uid=1000,gid=0");
        assert_eq!((mount.target.as_str(), mount.read_only), ("/run", false));
        assert_eq!((kind.exec, kind.size, kind.mode), (true, Some(64 << 20), Some(0o1770)));
        assert_eq!((kind.uid, kind.gid), (Some(1000), Some(0)));
        let (mount, kind) = parsed("/tmp:ro");
        assert!(mount.read_only && !kind.exec);
        for bad in ["", "run", "/", "/a:size=x", "/a:mode=9", "/a:suid", "/a:size", "/a:uid=-1", "/a:x:y"] {
            assert!(tmpfs(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(/a:)?.{0,30}") {
            let _ = tmpfs(&text);
        }
    }
}
