//! The configuration that a runtime program is given, as text: the one of the bundle, with the paths under which the
//! shim shows what the engine has by descriptors, and with the value of the user left open.

use std::path::PathBuf;

use engine_shim::plan::{ContainerPlan, HELD, INIT, Mount, MountSource};
use oci_spec::runtime::{self, LinuxNamespace, LinuxNamespaceType, Process, Root};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::runtime::driver::{Bundle, ExecBundle};
use crate::runtime::linux::plan::held;
use crate::spec::TerminalSize;

/// The version of the specification that all programs understand.
const VERSION: &str = "1.0.2";

/// The configuration of a container, and the mounts that the shim makes below the bundle for it.
pub(super) fn container(
    bundle: &Bundle,
    plan: &ContainerPlan,
    directory: &str,
) -> Result<((String, String), Vec<Mount>)> {
    let mut spec = bundle.spec.clone();
    // What is in it that is newer is left out by programs that do not know it; a newer version some do not even read.
    spec.set_version(VERSION.to_owned());
    let mut root = Root::default();
    root.set_path(format!("{directory}/rootfs").into()).set_readonly(Some(plan.root.readonly));
    spec.set_root(Some(root));
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        let own = held::own();
        let number = mount.source().as_deref().and_then(|source| source.to_str()?.strip_prefix(&own));
        if let Some(number) = number {
            let place = held::find(bundle, number)?;
            mount.set_source(Some(format!("{directory}/held/{place}").into()));
        }
    }
    if bundle.shm.is_some() {
        let after =
            mounts.iter().position(|mount| mount.destination().as_os_str() == "/dev").map_or(0, |at| at + 1);
        mounts.insert(after, bind(held::SHM, format!("{directory}/held/{}", bundle.held.len()), &[]));
    }
    if bundle.init {
        mounts.push(bind(INIT, format!("{directory}/init"), &["ro"]));
    }
    spec.set_mounts(Some(mounts));
    if let Some(linux) = spec.linux_mut() {
        // The one that is looked at for what it uses, and that is frozen.
        linux.set_cgroups_path(Some(PathBuf::from(&bundle.place.cgroup)));
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.iter_mut().for_each(|namespace| show(namespace, directory));
        linux.set_namespaces(Some(namespaces));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    if bundle.init {
        let args = process.args().clone().unwrap_or_default();
        let init = [INIT.to_owned(), "--".to_owned()];
        process.set_args(Some(init.into_iter().chain(args).collect()));
    }
    let size = bundle.streams.terminal_size;
    let (before, after) = open(&process, size)?;
    spec.set_process(None);
    let rest = object(&spec)?;
    let rest = Value::Object(rest).to_string();
    let rest = rest.strip_prefix('{').unwrap_or_default();
    Ok(((format!("{{\"process\":{before}"), format!("{after},{rest}")), sources(plan)))
}

/// The configuration of another process.
pub(super) fn process(exec: &ExecBundle) -> Result<(String, String)> {
    open(&exec.process, exec.terminal_size)
}

/// A process as JSON, before and after the value of its user.
fn open(process: &Process, size: Option<TerminalSize>) -> Result<(String, String)> {
    let mut members = object(process)?;
    members.remove("user");
    if let Some(size) = size {
        members.insert("consoleSize".to_owned(), json!({ "height": size.rows, "width": size.columns }));
    }
    let mut before = Value::Object(members).to_string();
    before.pop();
    if before.len() > 1 {
        before.push(',');
    }
    Ok((before + "\"user\":", "}".to_owned()))
}

fn object(value: &impl Serialize) -> Result<Map<String, Value>> {
    let invalid = |e| Error::invalid("the configuration", "it has no JSON").caused_by(e);
    match serde_json::to_value(value).map_err(invalid)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::internal("the configuration", "it is no object")),
    }
}

/// A namespace that is there already is joined by the path that the shim shows it under. The network's always is.
fn show(namespace: &mut LinuxNamespace, directory: &str) {
    let kind = namespace.typ();
    let joined = namespace.path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    if joined || kind == LinuxNamespaceType::Network {
        namespace.set_path(Some(PathBuf::from(format!("{directory}/namespaces/{}", kind as u32))));
    }
}

fn bind(target: &str, source: String, options: &[&str]) -> runtime::Mount {
    let mut mount = runtime::Mount::default();
    let options = ["rbind"].iter().chain(options).map(|option| (*option).to_owned());
    mount
        .set_destination(target.into())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.collect()));
    mount
}

/// The sources of mounts that are no paths of the host: what the plan has by descriptors, each once.
fn sources(plan: &ContainerPlan) -> Vec<Mount> {
    let mut shown: Vec<Mount> = Vec::new();
    for mount in &plan.mounts {
        let name = match &mount.source {
            MountSource::Bind { path, .. } => path,
            MountSource::Theirs { namespace, .. } => namespace,
            MountSource::Filesystem { .. } | MountSource::Cgroups(_) | MountSource::Earlier => continue,
        };
        let Some(place) = name.strip_prefix(HELD) else { continue };
        let target = format!("/held/{place}");
        if !shown.iter().any(|other| other.target == target) {
            shown.push(Mount {
                target,
                source: mount.source.clone(),
                attributes: Default::default(),
                attributes_below: Default::default(),
                propagation: 0,
                system: false,
                copy_up: false,
                idmap: None,
            });
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_the_user_is_left_open_whatever_the_arguments_say() {
        let mut process = Process::default();
        process.set_args(Some(vec!["\"user\":".to_owned(), "}".to_owned()]));
        let size = Some(TerminalSize { rows: 33, columns: 99 });
        let (before, after) = open(&process, size).expect("has JSON");
        let whole = format!("{before}{{\"uid\":8,\"gid\":9}}{after}");
        let read: Value = serde_json::from_str(&whole).expect("is JSON");
        assert_eq!(read["user"], json!({"uid": 8, "gid": 9}));
        assert_eq!(read["args"], json!(["\"user\":", "}"]));
        assert_eq!(read["consoleSize"], json!({"height": 33, "width": 99}));
    }

    #[test]
    fn what_is_there_already_is_joined_by_the_path_it_is_shown_under() {
        let path_of = |kind, path: Option<&str>| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind).set_path(path.map(PathBuf::from));
            show(&mut namespace, "/run/bundle");
            namespace.path().clone()
        };
        let shown = |flag: i32| Some(PathBuf::from(format!("/run/bundle/namespaces/{flag}")));
        assert_eq!(path_of(LinuxNamespaceType::Pid, None), None);
        assert_eq!(path_of(LinuxNamespaceType::Pid, Some("/proc/1/fd/9")), shown(libc::CLONE_NEWPID));
        assert_eq!(path_of(LinuxNamespaceType::Network, None), shown(libc::CLONE_NEWNET));
    }
}
