//! A bundle: a directory with `config.json`, read once, when the container is made.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result, Subject};
use crate::spec::CAPABILITIES;

/// No configuration is larger.
const MAX: u64 = 16 << 20;

/// A configuration, with all its paths absolute.
pub(super) struct Bundle {
    /// The directory.
    pub(super) path: PathBuf,
    /// The root file system.
    pub(super) rootfs: PathBuf,
    pub(super) spec: Spec,
}

impl Bundle {
    /// Reads the one in the directory.
    pub(super) fn read(path: &Path) -> Result<Bundle> {
        let path = path.canonicalize().subject(|| format!("bundle {}", path.display()))?;
        let mut spec = configuration(&path.join("config.json"))?;
        check_version(spec.version())?;
        let root =
            spec.root().as_ref().ok_or_else(|| Error::invalid("the configuration", "it has no root"))?;
        let rootfs = path.join(root.path());
        let rootfs =
            rootfs.canonicalize().subject(|| format!("the root file system {}", rootfs.display()))?;
        if !rootfs.is_dir() {
            return Err(Error::invalid(
                format!("the root file system {}", rootfs.display()),
                "not a directory",
            ));
        }
        if spec.process().is_none() {
            return Err(Error::invalid("the configuration", "process property must not be empty"));
        }
        for mount in spec.mounts_mut().iter_mut().flatten() {
            resolve(mount, &path);
        }
        Ok(Bundle { path, rootfs, spec })
    }
}

/// A source is relative to the bundle, and a target, as before version 1.0.2, to the root.
fn resolve(mount: &mut oci_spec::runtime::Mount, bundle: &Path) {
    let bind = |options: &Vec<String>| options.iter().any(|option| option == "bind" || option == "rbind");
    let is_bind = matches!(mount.typ().as_deref(), Some("bind" | "rbind"))
        || mount.options().as_ref().is_some_and(bind);
    if is_bind && let Some(source) = mount.source() {
        mount.set_source(Some(bundle.join(source)));
    }
    if mount.destination().is_relative() {
        mount.set_destination(Path::new("/").join(mount.destination()));
    }
}

/// The configuration in a file.
pub(super) fn configuration(path: &Path) -> Result<Spec> {
    parse(document(path)?, || format!("configuration {}", path.display()))
}

/// The process in a file, as `exec --process` has it.
pub(super) fn process(path: &Path) -> Result<Process> {
    let mut document = document(path)?;
    forget_capabilities(&mut document);
    name_flags(&mut document);
    parse(document, || format!("process {}", path.display()))
}

fn document(path: &Path) -> Result<Value> {
    let subject = || path.display().to_string();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut text));
    if read.subject(subject)? as u64 > MAX {
        return Err(Error::invalid(subject(), format!("it is longer than {MAX} bytes")));
    }
    let mut document =
        serde_json::from_slice(&text).map_err(|e| Error::invalid(subject(), "it is no JSON").caused_by(e))?;
    if let Value::Object(members) = &mut document
        && let Some(process) = members.get_mut("process")
    {
        forget_capabilities(process);
        name_flags(process);
    }
    Ok(document)
}

fn parse<T: DeserializeOwned>(document: Value, subject: impl Fn() -> String) -> Result<T> {
    serde_json::from_value(document)
        .map_err(|e| Error::invalid(subject(), "it is not as the runtime specification has it").caused_by(e))
}

/// Takes away capabilities that are not known: the specification wants them to be passed over.
fn forget_capabilities(process: &mut Value) {
    let Some(Value::Object(sets)) = process.get_mut("capabilities") else { return };
    let known = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        CAPABILITIES.contains(&name.strip_prefix("CAP_").unwrap_or(name))
    };
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.retain(known);
    }
}

/// Calls flags of the scheduler what the library that reads them does; the specification has other names for these.
fn name_flags(process: &mut Value) {
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
            _ => {}
        }
    }
}

/// Versions are semantic: all of 1 are the same to whoever passes over what it does not know.
fn check_version(version: &str) -> Result<()> {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(1) => Ok(()),
        _ => Err(Error::invalid(
            format!("ociVersion {version:?}"),
            "this runtime speaks version 1 of the runtime specification",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(config: &str) -> (tempfile::TempDir, Result<Bundle>) {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("rootfs")).expect("makes");
        std::fs::write(directory.path().join("config.json"), config).expect("writes");
        let bundle = Bundle::read(directory.path());
        (directory, bundle)
    }

    #[test]
    fn paths_are_the_bundle_s() {
        let (directory, bundle) = bundle(
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"},
                "mounts":[{"destination":"data","type":"bind","source":"files","options":["rbind"]},
                          {"destination":"/proc","type":"proc","source":"proc"}]}"#,
        );
        let bundle = bundle.expect("is a bundle");
        assert_eq!(bundle.rootfs, directory.path().canonicalize().expect("is there").join("rootfs"));
        let mounts = bundle.spec.mounts().as_ref().expect("has some");
        assert_eq!(mounts[0].source().as_deref(), Some(bundle.path.join("files").as_path()));
        assert_eq!(mounts[0].destination(), Path::new("/data"));
        assert_eq!(mounts[1].source().as_deref(), Some(Path::new("proc")), "is no path");
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_what_is_wrong_refused() {
        let process = r#""process":{"user":{"uid":0,"gid":0},"cwd":"/","future":1,
            "capabilities":{"bounding":["CAP_CHOWN","CAP_FUTURE"]}}"#;
        let (_directory, found) =
            bundle(&format!(r#"{{"ociVersion":"1.9.0","root":{{"path":"rootfs"}},"future":[],{process}}}"#));
        let spec = found.expect("is a bundle").spec;
        let sets = spec.process().as_ref().and_then(|process| process.capabilities().clone());
        assert_eq!(sets.and_then(|sets| sets.bounding().clone()).expect("some").len(), 1);
        for config in [
            "{",
            "[]",
            r#"{"ociVersion":"2.0.0","root":{"path":"rootfs"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"}}"#,
            r#"{"ociVersion":"1.0.0","root":{"path":"nowhere"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"}}"#,
            r#"{"ociVersion":"1.0.0","root":{"path":"config.json"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"}}"#,
            r#"{"ociVersion":"1.0.0","root":{"path":"rootfs"}}"#,
        ] {
            assert!(bundle(config).1.is_err(), "{config}");
        }
    }
}
