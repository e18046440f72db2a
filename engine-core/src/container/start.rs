//! Starting a container: from the record to a running program, and back to where it was if a step fails.

use std::os::fd::AsFd;

use super::lock::ContainerLock;
use super::plan::Prepared;
use super::reconcile::Ending;
use super::{Container, facts, files, health, links, logs, naming, plan, reconcile, sharing};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::network::endpoint;
use crate::parts::Parts;
use crate::runtime::driver::{Bundle, Streams, UserSpec};
use crate::runtime::session::Session;
use crate::spec::{AttachSpec, NamespaceMode, NetworkMode, PortSpec, RootMount, RootSource, Timestamp};
use crate::store::containers::{self, ContainerRow};
use crate::store::{Durability, blocking};
use crate::sys::fault;

/// Exit codes that frontends and docker's users know for a program that could not be begun.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const ENGINE_FAILED: i32 = 128;

/// Starts it; attached to `streams`, if there are any, before its program writes its first byte.
pub(super) async fn start(container: &Container, streams: Option<AttachSpec>) -> Result<Option<Session>> {
    let (parts, id) = (&container.parts, &container.id);
    let lock = ContainerLock::take(parts, id).await?;
    let Some((row, lock)) = reconcile::settle_locked(parts, id, lock).await? else {
        return Err(container.gone());
    };
    match reconcile::told(parts, &row)? {
        Some(living) if living.paused => {
            return Err(Error::new(ErrorKind::Conflict, container.subject())
                .because("cannot start a paused container, try unpause instead"));
        }
        Some(_) => {
            return Err(
                Error::new(ErrorKind::NotModified, container.subject()).because("it is running already")
            );
        }
        None => {}
    }
    let started = Timestamp::now();
    let run = begin(parts, id, started).await?.ok_or_else(|| container.gone())?;
    fault::point("start.begun");
    let result = launch(parts, &row, run, streams).await;
    if let Err(e) = &result {
        undo(parts, &row, e).await;
    }
    drop(lock);
    result
}

async fn begin(parts: &Parts, id: &ContainerId, now: Timestamp) -> Result<Option<u64>> {
    let id = id.clone();
    parts.store.write(Durability::Relaxed, move |tx| containers::begin_run(tx, &id, now)).await
}

async fn launch(
    parts: &Parts,
    row: &ContainerRow,
    run: u64,
    streams: Option<AttachSpec>,
) -> Result<Option<Session>> {
    let spec = &row.record.spec;
    let place = reconcile::place(parts, row);
    let config = plan::image_config(parts, &row.record).await?;
    let shared = sharing::take(parts, spec).await?;
    let wiring = match &spec.network {
        NetworkMode::Network(name) => {
            let ports: Vec<PortSpec> = plan::ports(spec, config.as_ref())?;
            let (names, without_ipv6) = (naming::names(row), plan::without_ipv6(spec));
            let wish =
                endpoint::Wish { ports: &ports, endpoint: &spec.endpoint, names: &names, without_ipv6 };
            Some(endpoint::reserve(parts, &row.id, name, wish).await?)
        }
        NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => None,
    };
    fault::point("start.reserved");
    let links = links::resolve(parts, row, wiring.as_ref()).await?;
    let root = root(parts, row).await?;
    let mut held = shared.held;
    let mounts = plan::mounts(parts, row, &mut held).await?;
    let (hostname, files) = match sharing::network_of(parts, row).await? {
        // In another one's network it has that one's files.
        Some(donor) => (files::hostname(&donor), files::shared(parts, row, &donor).await?),
        None => (files::hostname(row), files::write(parts, row, wiring.as_ref(), &links).await?),
    };
    let joined = &shared.joined;
    let oci =
        Prepared { row, config: config.as_ref(), hostname: &hostname, mounts, files, joined }.spec(parts)?;
    let run_config = config.as_ref().map(|config| &config.config);
    let health = health::plan(&spec.health, run_config, || health::results(parts, &row.id));
    if let Some(check) = &health {
        let results = check.results.clone();
        blocking(move || health::forget(&results)).await?;
    }
    let (mut wiring, mut teardown) = (wiring, Vec::new());
    if let Some(wiring) = &mut wiring {
        // The monitor keeps the ports, and gives them back.
        held.append(&mut wiring.held);
        teardown = std::mem::take(&mut wiring.teardown);
    }
    let bundle = Bundle {
        place: place.clone(),
        title: row.name.to_string(),
        run,
        spec: oci,
        root,
        user: UserSpec { user: plan::user(spec, config.as_ref()), additional_groups: spec.group_add.clone() },
        streams: Streams {
            terminal_size: spec.terminal_size,
            open_stdin: spec.open_stdin,
            stdin_once: spec.stdin_once,
            log: files::log(parts, &row.id, &spec.log),
            logging: logs::driver::logging(row, config.as_ref())?,
        },
        // As in docker: only what is process 1 has orphans to look after.
        init: spec.init && spec.pid == NamespaceMode::Private,
        lifetime: spec.lifetime,
        durable: !spec.auto_remove,
        held,
        teardown,
        restart: spec.restart,
        health,
        events: Some(facts::source(parts, row)),
        shm: shared.shm,
        names: wiring.as_ref().and_then(|wiring| naming::service(parts, row, wiring)),
    };
    let created = parts.runtime.create(bundle).await?;
    fault::point("start.created");
    if let (Some(wiring), Some(netns)) = (&wiring, &created.netns) {
        wiring.connect(parts, &row.id, netns.as_fd()).await?;
    }
    facts::tell_volumes(parts, row, "mount");
    fault::point("start.connected");
    let session = match streams {
        Some(streams) => Some(parts.runtime.attach(&place, streams).await),
        None => None,
    };
    if let Some(Ok(_)) = &session {
        facts::tell(parts, row, "attach", &[]);
    }
    // First: if nobody is there to attach to, building failed, and this tells why.
    parts.runtime.start(&place).await?;
    let session = session.transpose()?;
    fault::point("start.started");
    Ok(session)
}

/// The mounts that make the container's root file system.
pub(super) async fn root(parts: &Parts, row: &ContainerRow) -> Result<Vec<RootMount>> {
    let (key, volatile) = (row.id.as_str(), row.record.spec.auto_remove);
    match &row.record.spec.root {
        RootSource::Image(_) => parts.images.prepare(key, &row.record.chain, volatile).await,
        RootSource::Directory { path, overlay: true } => {
            parts.images.prepare_on(key, path.clone(), volatile).await
        }
        RootSource::Directory { path, overlay: false } => {
            let directory = parts.container_dir(&row.id);
            blocking(move || files::make_directory(&directory)).await?;
            Ok(vec![RootMount::Directory { path: path.clone() }])
        }
    }
}

/// The start failed: takes away what it made, and keeps the reason. What cannot be taken away now is so by the next
/// engine that looks.
async fn undo(parts: &Parts, row: &ContainerRow, failure: &Error) {
    let code = match failure.kind() {
        ErrorKind::CommandNotFound => NOT_FOUND,
        ErrorKind::CommandNotExecutable => NOT_EXECUTABLE,
        _ => ENGINE_FAILED,
    };
    let _ = parts.runtime.abandon(&reconcile::place(parts, row)).await;
    let _ = reconcile::clear(parts, row, Ending::Unknown).await;
    let (id, text) = (row.id.clone(), failure.to_string());
    let _ =
        parts.store.write(Durability::Relaxed, move |tx| containers::fail_run(tx, &id, code, &text)).await;
}
