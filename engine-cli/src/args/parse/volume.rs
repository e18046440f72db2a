//! `-v [SOURCE:]TARGET[:options]`.

use std::path::{Component, Path, PathBuf};

use engine_core::spec::{BindSpec, MountKind, MountSpec, Propagation, VolumeMountSpec};

use super::{Parsed, reason};

/// Refuses a place in the container that is no absolute path, or is its root.
pub(crate) fn absolute_target(target: &str) -> Parsed<String> {
    if !target.starts_with('/') {
        return Err(format!("the path {target:?} in the container must be absolute"));
    }
    if Path::new(target).components().all(|part| matches!(part, Component::RootDir | Component::CurDir)) {
        return Err("nothing can be mounted on the root of the container".to_owned());
    }
    Ok(target.to_owned())
}

/// A path of the host, made absolute against `here` where it is not, without `.` and `..`: what Go's `filepath.Abs`
/// does, which looks at no symbolic link.
pub(crate) fn absolute_source(source: &str, here: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in here.join(source).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// What the options of a `-v` said.
#[derive(Default)]
struct Options {
    read_only: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

fn options(text: &str) -> Parsed<Options> {
    let mut options = Options::default();
    let mut access = None;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" => {
                if access.is_some_and(|earlier| earlier != option) {
                    return Err("ro and rw contradict each other".to_owned());
                }
                access = Some(option);
                options.read_only = option == "ro";
            }
            "nocopy" => options.no_copy = true,
            "private" | "rprivate" => options.propagation = Some(Propagation::Private),
            "slave" | "rslave" => options.propagation = Some(Propagation::Slave),
            "shared" | "rshared" => options.propagation = Some(Propagation::Shared),
            // Labels of SELinux, which is not used, and hints for macOS.
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            _ => {
                return Err(format!(
                    "option {option:?} is not known; use ro, rw, nocopy, rprivate, rslave or rshared"
                ));
            }
        }
    }
    Ok(options)
}

/// A volume or a bind mount. `here` is what `./x` is relative to.
pub(crate) fn volume(text: &str, here: &Path) -> Parsed<MountSpec> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, rest) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, rest] => (Some(*source), *target, *rest),
        _ => return Err("must look like [SOURCE:]TARGET[:options]".to_owned()),
    };
    let target = absolute_target(target)?;
    let options = options(rest)?;
    let kind = match source {
        None => MountKind::Volume(VolumeMountSpec::default()),
        Some("") => return Err("the source is empty".to_owned()),
        Some(path) if path.starts_with(['/', '.']) => {
            if options.no_copy {
                return Err("nocopy is for volumes, not for directories of the host".to_owned());
            }
            let mut bind = BindSpec::new(absolute_source(path, here));
            bind.create_source = true;
            bind.propagation = options.propagation.unwrap_or_default();
            MountKind::Bind(bind)
        }
        Some(name) => {
            if options.propagation.is_some() {
                return Err("propagation is for directories of the host, not for volumes".to_owned());
            }
            let mut volume = VolumeMountSpec::default();
            volume.name = Some(name.parse().map_err(reason)?);
            volume.no_copy = options.no_copy;
            MountKind::Volume(volume)
        }
    };
    Ok(MountSpec { target, read_only: options.read_only, kind })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> MountSpec {
        volume(text, Path::new("/home/me")).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn bind(text: &str) -> BindSpec {
        match parsed(text).kind {
            MountKind::Bind(bind) => bind,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn named(text: &str) -> VolumeMountSpec {
        match parsed(text).kind {
            MountKind::Volume(volume) => volume,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_path_alone_is_an_anonymous_volume_and_a_word_names_one() {
        assert_eq!(named("/data").name, None);
        assert_eq!(named("data:/data").name.map(|name| name.to_string()), Some("data".into()));
        assert!(named("data:/data:nocopy").no_copy);
        assert!(parsed("data:/data:ro").read_only);
    }

    #[test]
    fn paths_of_the_host_are_made_absolute_and_created() {
        assert_eq!(bind("/a/../b:/x").source, PathBuf::from("/b"));
        assert_eq!(bind("./src:/x").source, PathBuf::from("/home/me/src"));
        assert_eq!(bind(".:/x").source, PathBuf::from("/home/me"));
        assert_eq!(bind("../../../..:/x").source, PathBuf::from("/"));
        assert!(bind("/a:/x").create_source);
        assert_eq!(bind("/a:/x:ro,z,rslave").propagation, Propagation::Slave);
    }

    #[test]
    fn contradictions_and_unknown_options_are_refused() {
        for bad in [
            "",
            ":",
            "x",
            "a:b",
            "/a:/b:/c:d",
            ":/x",
            "/a:/",
            "/a:/.",
            "/a:/b:nocopy",
            "data:/x:rshared",
            "/a:/b:ro,rw",
            "/a:/b:frob",
            "~/a:/b",
            "..data:",
            "a b:/x",
        ] {
            assert!(volume(bad, Path::new("/")).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z/.:,~ ]{0,30}") {
            let _ = volume(&text, Path::new("/"));
        }

        #[test]
        fn an_absolute_source_has_no_dots(text in "[a-z/.]{0,30}") {
            let path = absolute_source(&text, Path::new("/here"));
            prop_assert!(path.is_absolute());
            prop_assert!(path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))));
        }
    }
}
