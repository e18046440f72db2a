//! Another process in a running container.

use super::plan::Prepared;
use super::{Container, execs, facts, files, plan, reconcile, sharing};
use crate::error::Result;
use crate::id::random_hex;
use crate::journal;
use crate::runtime::driver::{ExecBundle, ExecEvents, UserSpec};
use crate::runtime::session::Session;
use crate::spec::ExecSpec;

pub(super) async fn exec(container: &Container, exec: ExecSpec) -> Result<Session> {
    let parts = &container.parts;
    let row = container.row().await?;
    reconcile::require_moving(container, &row, "exec").await?;
    let config = plan::image_config(parts, &row.record).await?;
    // Mounts belong to the first process.
    let files = files::EtcFiles::of(parts, &row.id);
    let donor = sharing::network_of(parts, &row).await?;
    let hostname = files::hostname(donor.as_ref().unwrap_or(&row));
    let (mounts, joined) = (Vec::new(), [].as_slice());
    let prepared =
        Prepared { row: &row, config: config.as_ref(), hostname: &hostname, mounts, files, joined };
    let (process, seccomp) = prepared.exec(parts, &exec)?;
    let id = exec.id.clone().map_or_else(random_hex::<32>, Ok)?;
    let command = exec.command.join(" ");
    let mut attributes = facts::attributes(&row.record, &row.name);
    attributes.insert("execID".to_owned(), id.clone());
    let events = ExecEvents {
        journal: journal::path(&parts.run_root),
        start: journal::action(&format!("exec_start: {command}")),
        attributes: journal::members(&attributes),
    };
    facts::tell(parts, &row, &format!("exec_create: {command}"), &[("execID", &id)]);
    let user = exec.user.clone().unwrap_or_else(|| plan::user(&row.record.spec, config.as_ref()));
    let bundle = ExecBundle {
        process,
        user: UserSpec { user, additional_groups: row.record.spec.group_add.clone() },
        seccomp,
        annotations: row.record.spec.annotations.clone(),
        stdin: exec.stdin,
        terminal_size: exec.terminal_size,
        detach: exec.detach,
        events: Some(events),
        record: Some(execs::record(&id, &exec)?),
    };
    parts.runtime.exec(&reconcile::place(parts, &row), bundle).await
}
