//! Another process in a running container.

use super::plan::Prepared;
use super::{Container, files, plan, reconcile, sharing};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::driver::{ExecBundle, UserSpec};
use crate::runtime::session::Session;
use crate::spec::ExecSpec;

pub(super) async fn exec(container: &Container, exec: ExecSpec) -> Result<Session> {
    let parts = &container.parts;
    let row = container.row().await?;
    if reconcile::running(parts, &row)?.is_none() {
        container.settled().await?;
        return Err(Error::new(ErrorKind::Conflict, container.subject())
            .because("it is not running")
            .with_remedy("start it first"));
    }
    let config = plan::image_config(parts, &row.record).await?;
    // Mounts belong to the first process.
    let files = files::EtcFiles::of(parts, &row.id);
    let donor = sharing::network_of(parts, &row).await?;
    let hostname = files::hostname(donor.as_ref().unwrap_or(&row));
    let (mounts, joined) = (Vec::new(), [].as_slice());
    let prepared =
        Prepared { row: &row, config: config.as_ref(), hostname: &hostname, mounts, files, joined };
    let (process, seccomp) = prepared.exec(parts, &exec)?;
    let user = exec.user.clone().unwrap_or_else(|| plan::user(&row.record.spec, config.as_ref()));
    let bundle = ExecBundle {
        process,
        user: UserSpec { user, additional_groups: row.record.spec.group_add.clone() },
        seccomp,
        stdin: exec.stdin,
        terminal_size: exec.terminal_size,
        detach: exec.detach,
    };
    parts.runtime.exec(&reconcile::place(parts, &row), bundle).await
}
