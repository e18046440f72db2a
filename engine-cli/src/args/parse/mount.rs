//! `--mount key=value,…`.

use std::path::Path;

use engine_core::spec::{BindSpec, MountKind, MountSpec, Propagation, TmpfsSpec, VolumeMountSpec};

use super::boolean::boolean;
use super::size::size;
use super::tmpfs::mode;
use super::volume::{absolute_source, absolute_target};
use super::{Parsed, csv, reason};

/// What is mounted, before its options are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

impl Kind {
    fn of(text: &str) -> Parsed<Kind> {
        match text.to_ascii_lowercase().as_str() {
            "volume" => Ok(Kind::Volume),
            "bind" => Ok(Kind::Bind),
            "tmpfs" => Ok(Kind::Tmpfs),
            "image" | "npipe" | "cluster" => Err(format!("mounts of type {text} are not supported")),
            _ => Err(format!("type {text:?} is not known; use volume, bind or tmpfs")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Volume => "volume",
            Kind::Bind => "bind",
            Kind::Tmpfs => "tmpfs",
        }
    }
}

/// All that the options can say, for whatever is mounted.
struct Options {
    kind: Kind,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    /// Read-only with all mounts below, or not at all.
    force_read_only: bool,
    bind: BindSpec,
    volume: VolumeMountSpec,
    tmpfs: TmpfsSpec,
    /// The kinds that some option was only for, with that option.
    only_for: Vec<(Kind, String)>,
}

/// A volume, bind mount or file system in memory. `here` is what `./x` is relative to.
pub(crate) fn mount(text: &str, here: &Path) -> Parsed<MountSpec> {
    let mut tmpfs = TmpfsSpec::default();
    tmpfs.exec = true;
    let mut options = Options {
        kind: Kind::Volume,
        source: None,
        target: None,
        read_only: false,
        force_read_only: false,
        bind: BindSpec::new("/"),
        volume: VolumeMountSpec::default(),
        tmpfs,
        only_for: Vec::new(),
    };
    for field in csv::fields(text)? {
        options.take(&field)?;
    }
    options.finish(here)
}

impl Options {
    fn take(&mut self, field: &str) -> Parsed<()> {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        // These three may stand alone, and then mean yes.
        let flag = || value.map_or(Ok(true), boolean).map_err(|e| format!("{key}: {e}"));
        match key.as_str() {
            "readonly" | "ro" => self.read_only = flag()?,
            "volume-nocopy" => {
                self.volume.no_copy = flag()?;
                self.only_for.push((Kind::Volume, key));
            }
            "bind-nonrecursive" => {
                self.bind.recursive = !flag()?;
                self.only_for.push((Kind::Bind, key));
            }
            _ => {
                let value = value.ok_or_else(|| format!("{field:?} must have the form key=value"))?;
                self.set(&key, value)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Parsed<()> {
        match key {
            "type" => self.kind = Kind::of(value)?,
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(absolute_target(value)?),
            "consistency" => {}
            "bind-propagation" => self.bind.propagation = propagation(value)?,
            "bind-recursive" => match value {
                "enabled" => self.bind.recursive = true,
                "disabled" => self.bind.recursive = false,
                "writable" => (self.bind.recursive, self.bind.writable_below) = (true, true),
                "readonly" => (self.bind.recursive, self.force_read_only) = (true, true),
                _ => {
                    return Err(format!(
                        "bind-recursive={value} is not known; use enabled, disabled, writable or readonly"
                    ));
                }
            },
            "volume-driver" => self.volume.driver = Some(value.to_owned()),
            "volume-opt" => insert(&mut self.volume.options, key, value)?,
            "volume-label" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                self.volume.labels.insert(name.to_owned(), value.to_owned());
            }
            "tmpfs-size" => self.tmpfs.size = Some(size(value)?),
            "tmpfs-mode" => self.tmpfs.mode = Some(mode(value)?),
            "volume-subpath" => self.volume.subpath = Some(value.to_owned()),
            "image-subpath" => return Err(format!("{key} is not supported")),
            _ => return Err(format!("option {key:?} is not known")),
        }
        let only_for = [("bind-", Kind::Bind), ("volume-", Kind::Volume), ("tmpfs-", Kind::Tmpfs)];
        if let Some((_, kind)) = only_for.into_iter().find(|(prefix, _)| key.starts_with(prefix)) {
            self.only_for.push((kind, key.to_owned()));
        }
        Ok(())
    }

    fn finish(mut self, here: &Path) -> Parsed<MountSpec> {
        let kind = self.kind;
        if let Some((only, key)) = self.only_for.iter().find(|(only, _)| *only != kind) {
            return Err(format!(
                "{key} is for mounts of type {}, and this is of type {}",
                only.name(),
                kind.name()
            ));
        }
        if self.force_read_only {
            let lacks = |what: &str| {
                format!("option 'bind-recursive=readonly' requires '{what}' to be specified in conjunction")
            };
            if !self.read_only {
                return Err(lacks("readonly"));
            }
            if self.bind.propagation != Propagation::Private {
                return Err(lacks("bind-propagation=rprivate"));
            }
        }
        let target = self.target.ok_or("the target is missing: target=PATH")?;
        let kind = match (kind, self.source) {
            (Kind::Bind, None) => return Err("the source is missing: source=PATH".to_owned()),
            (Kind::Bind, Some(source)) if source.starts_with(['/', '.']) => {
                self.bind.source = absolute_source(&source, here);
                MountKind::Bind(self.bind)
            }
            (Kind::Bind, Some(source)) => {
                return Err(format!("the source {source:?} of a bind mount must be an absolute path"));
            }
            (Kind::Tmpfs, Some(_)) => return Err("a tmpfs has no source".to_owned()),
            (Kind::Tmpfs, None) => MountKind::Tmpfs(self.tmpfs),
            (Kind::Volume, source) => {
                let source = source.filter(|name| !name.is_empty());
                self.volume.name = source.map(|name| name.parse().map_err(reason)).transpose()?;
                MountKind::Volume(self.volume)
            }
        };
        Ok(MountSpec { target, read_only: self.read_only, kind })
    }
}

fn insert(into: &mut std::collections::BTreeMap<String, String>, key: &str, value: &str) -> Parsed<()> {
    let (name, value) =
        value.split_once('=').ok_or_else(|| format!("{key} must have the form {key}=name=value"))?;
    into.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn propagation(text: &str) -> Parsed<Propagation> {
    match text {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        _ => Err(format!("bind-propagation {text:?} is not known; use rprivate, rslave or rshared")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> MountSpec {
        mount(text, Path::new("/here")).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_volume_is_the_default() {
        let mount =
            parsed("source=data,target=/data,readonly,volume-nocopy,volume-label=a=b,volume-opt=type=nfs");
        let MountKind::Volume(volume) = mount.kind else { panic!("not a volume") };
        assert!(mount.read_only && volume.no_copy);
        assert_eq!(volume.name.map(|name| name.to_string()), Some("data".into()));
        assert_eq!(volume.labels.get("a").map(String::as_str), Some("b"));
        assert_eq!(volume.options.get("type").map(String::as_str), Some("nfs"));
        let MountKind::Volume(anonymous) = parsed("dst=/data").kind else { panic!("not a volume") };
        assert_eq!(anonymous.name, None);
    }

    #[test]
    fn a_bind_mount_s_source_must_exist_so_it_is_not_created() {
        let mount =
            parsed("type=bind,src=./x,dst=/y,ro=false,bind-propagation=rslave,bind-recursive=disabled");
        let MountKind::Bind(bind) = mount.kind else { panic!("not a bind mount") };
        assert!(!mount.read_only && !bind.create_source && !bind.recursive);
        assert_eq!((bind.source, bind.propagation), (PathBuf::from("/here/x"), Propagation::Slave));
    }

    #[test]
    fn a_tmpfs_of_this_form_can_hold_programs() {
        let MountKind::Tmpfs(tmpfs) = parsed("type=tmpfs,DST=/t,tmpfs-size=1m,tmpfs-mode=1777").kind else {
            panic!("not a tmpfs")
        };
        assert_eq!((tmpfs.exec, tmpfs.size, tmpfs.mode), (true, Some(1 << 20), Some(0o1777)));
    }

    #[test]
    fn options_of_another_family_are_refused() {
        for bad in [
            "",
            "type=bind,dst=/x",
            "type=bind,src=x,dst=/x",
            "type=volume,dst=/x,bind-propagation=shared",
            "type=bind,src=/a,dst=/x,volume-nocopy",
            "type=tmpfs,dst=/x,src=/y",
            "type=image,src=a,dst=/x",
            "src=data",
            "dst=x",
            "dst=/x,frob=1",
            "dst=/x,frob",
            "dst=/x,readonly=maybe",
            "dst=/x,volume-opt=a",
            "type=bind,src=/a,dst=/x,bind-recursive=readonly",
        ] {
            assert!(mount(bad, Path::new("/")).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(type=bind,|dst=/x,)?[a-z=,/\"-]{0,40}") {
            let _ = mount(&text, Path::new("/"));
        }
    }
}
