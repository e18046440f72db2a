//! Containers: what was asked for, and the facts of their last run.

use rusqlite::params;
use serde_json::{Map, Value};

use super::{Tx, column, document, parsed, to_document};
use crate::container::record::ContainerRecord;
use crate::error::{Error, Result};
use crate::id::{ContainerId, ContainerName, ImageId};
use crate::runtime::driver::ExitRecord;
use crate::spec::Timestamp;

/// A container with the facts of its last run.
#[derive(Clone, Debug)]
pub(crate) struct ContainerRow {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) created: Timestamp,
    /// How often it was started.
    pub(crate) run: u64,
    pub(crate) started: Option<Timestamp>,
    /// When its last run ended; `None` while it may be running.
    pub(crate) finished: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) oom_killed: bool,
    /// Why its last start failed.
    pub(crate) failure: Option<String>,
    pub(crate) record: ContainerRecord,
    /// A user ended its last run.
    pub(crate) stopped: bool,
    /// How often its last run was started again by itself.
    pub(crate) restarts: u32,
}

const COLUMNS: &str =
    "id, name, created, run, started, finished, exit_code, oom_killed, failure, record, stopped, restarts";

fn time(row: &rusqlite::Row<'_>, index: usize) -> Result<Option<Timestamp>> {
    Ok(column::<Option<i64>>(row, index)?.map(Timestamp::from_nanos))
}

fn container(row: &rusqlite::Row<'_>) -> Result<ContainerRow> {
    Ok(ContainerRow {
        id: parsed(row, 0)?,
        name: parsed(row, 1)?,
        created: Timestamp::from_nanos(column(row, 2)?),
        run: u64::try_from(column::<i64>(row, 3)?).unwrap_or(0),
        started: time(row, 4)?,
        finished: time(row, 5)?,
        exit_code: column(row, 6)?,
        oom_killed: column(row, 7)?,
        failure: column(row, 8)?,
        record: document(row, 9)?,
        stopped: column(row, 10)?,
        restarts: column(row, 11)?,
    })
}

/// Records a container that was created. `false` if the name is taken.
pub(crate) fn insert(
    tx: &Tx<'_>,
    id: &ContainerId,
    name: &ContainerName,
    created: Timestamp,
    record: &ContainerRecord,
) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO containers (id, name, image, created, record) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO NOTHING",
        params![
            id.as_str(),
            name.as_str(),
            record.image.as_ref().map(ImageId::as_str),
            created.nanos(),
            compact(record)?
        ],
    )?;
    Ok(changed == 1)
}

/// The text of a record without the members that are at their default, which is most of them: a list of containers
/// reads one page for many rows, and not two for each.
fn compact(record: &ContainerRecord) -> Result<String> {
    let mut document = serde_json::to_value(record)
        .map_err(|e| Error::internal("a record", "it has no text form").caused_by(e))?;
    if let Some(Value::Object(spec)) = document.get_mut("spec") {
        // These are all optional within, too.
        for part in ["dns", "resources", "security"] {
            if let Some(Value::Object(part)) = spec.get_mut(part) {
                drop_defaults(part);
            }
        }
        drop_defaults(spec);
    }
    to_document(&document)
}

fn drop_defaults(members: &mut Map<String, Value>) {
    members.retain(|name, value| match value {
        Value::Null | Value::Bool(false) => false,
        // An empty entry point takes that of the image away.
        Value::Array(list) => !list.is_empty() || name == "entrypoint",
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
}

pub(crate) fn get(tx: &Tx<'_>, id: &ContainerId) -> Result<Option<ContainerRow>> {
    tx.row(&format!("SELECT {COLUMNS} FROM containers WHERE id = ?1"), [id.as_str()], container)
}

pub(crate) fn by_name(tx: &Tx<'_>, name: &str) -> Result<Option<ContainerRow>> {
    tx.row(&format!("SELECT {COLUMNS} FROM containers WHERE name = ?1"), [name], container)
}

/// The identifiers that begin with `prefix`; no more than two, as more are no help.
pub(crate) fn by_prefix(tx: &Tx<'_>, prefix: &str) -> Result<Vec<ContainerId>> {
    tx.rows("SELECT id FROM containers WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", [prefix], |row| {
        parsed(row, 0)
    })
}

/// All containers, newest first.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<ContainerRow>> {
    tx.rows(&format!("SELECT {COLUMNS} FROM containers ORDER BY created DESC, id"), [], container)
}

/// The containers of an image.
pub(crate) fn of_image(tx: &Tx<'_>, image: &ImageId) -> Result<Vec<(ContainerId, ContainerName)>> {
    tx.rows("SELECT id, name FROM containers WHERE image = ?1", [image.as_str()], |row| {
        Ok((parsed(row, 0)?, parsed(row, 1)?))
    })
}

/// A start begins: gives the number of the run.
pub(crate) fn begin_run(tx: &Tx<'_>, id: &ContainerId, now: Timestamp) -> Result<Option<u64>> {
    tx.row(
        "UPDATE containers
         SET run = run + 1, started = ?2, finished = NULL, exit_code = NULL, oom_killed = 0, failure = NULL,
             stopped = 0, restarts = 0
         WHERE id = ?1 RETURNING run",
        params![id.as_str(), now.nanos()],
        |row| Ok(u64::try_from(column::<i64>(row, 0)?).unwrap_or(0)),
    )
}

/// A run ended so. Changes nothing if another run has begun, or the end is recorded already.
pub(crate) fn end_run(tx: &Tx<'_>, id: &ContainerId, end: &ExitRecord) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE containers
         SET finished = ?3, exit_code = ?4, oom_killed = ?5, started = coalesce(?6, started), restarts = ?7,
             failure = ?8
         WHERE id = ?1 AND run = ?2 AND finished IS NULL",
        params![
            id.as_str(),
            i64::try_from(end.run).unwrap_or(i64::MAX),
            end.finished.nanos(),
            end.code,
            end.oom_killed,
            end.started.map(Timestamp::nanos),
            end.restarts,
            end.failure
        ],
    )?;
    Ok(changed == 1)
}

/// A user ends the last run.
pub(crate) fn note_stopped(tx: &Tx<'_>, id: &ContainerId) -> Result<()> {
    tx.execute("UPDATE containers SET stopped = 1 WHERE id = ?1", [id.as_str()])?;
    Ok(())
}

/// Replaces what was asked for.
pub(crate) fn set_record(tx: &Tx<'_>, id: &ContainerId, record: &ContainerRecord) -> Result<()> {
    tx.execute("UPDATE containers SET record = ?2 WHERE id = ?1", params![id.as_str(), compact(record)?])?;
    Ok(())
}

/// The start failed before the program began: the container is as it was created, with the reason kept.
pub(crate) fn fail_run(tx: &Tx<'_>, id: &ContainerId, exit_code: i32, failure: &str) -> Result<()> {
    tx.execute(
        "UPDATE containers SET started = NULL, finished = NULL, exit_code = ?2, failure = ?3 WHERE id = ?1",
        params![id.as_str(), exit_code, failure],
    )?;
    Ok(())
}

/// Gives the container another name. `false` if that is taken.
pub(crate) fn rename(tx: &Tx<'_>, id: &ContainerId, name: &ContainerName) -> Result<bool> {
    Ok(tx.execute("UPDATE OR IGNORE containers SET name = ?2 WHERE id = ?1", [id.as_str(), name.as_str()])?
        == 1)
}

/// Removes the record, with its leases and its hold on volumes; whether it was there is the answer.
pub(crate) fn delete(tx: &Tx<'_>, id: &ContainerId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM containers WHERE id = ?1", [id.as_str()])? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ContainerSpec, MountSpec};

    fn survives(spec: ContainerSpec) -> String {
        let record =
            ContainerRecord { spec, image: None, chain: Vec::new(), image_labels: Default::default() };
        let text = compact(&record).expect("has a text");
        let back: ContainerRecord = serde_json::from_str(&text).expect("is read");
        let whole = |record: &ContainerRecord| serde_json::to_value(record).expect("has a text");
        assert_eq!(whole(&back), whole(&record));
        text
    }

    #[test]
    fn a_record_is_short_and_loses_nothing() {
        let text = survives(ContainerSpec::image("alpine"));
        assert!(text.len() < 400, "{text}");
        let mut spec =
            ContainerSpec::overlay("/").command(["a", ""]).env("A", "").publish(80, 80).memory(1 << 30);
        spec = spec.mount(MountSpec::tmpfs("/t")).mount(MountSpec::bind("/a", "/b").read_only());
        spec.security.cap_add.push("ALL".into());
        spec.terminal = true;
        spec.entrypoint = Some(vec!["x".into()]);
        survives(spec);
    }

    #[test]
    fn no_entry_point_is_not_an_entry_point_taken_away() {
        let mut spec = ContainerSpec::image("alpine");
        spec.entrypoint = Some(Vec::new());
        survives(spec);
    }
}
