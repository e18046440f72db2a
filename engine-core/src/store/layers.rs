//! Unpacked layers.

use rusqlite::params;

use super::{Tx, column, parsed};
use crate::error::Result;
use crate::id::ChainId;
use crate::image::driver::LayerRecord;

/// Records a layer whose directory is in its place. One that is recorded already is left as it is.
pub(crate) fn insert(tx: &Tx<'_>, layer: &LayerRecord) -> Result<()> {
    tx.execute(
        "INSERT INTO layers (chain, parent, diff_id, size) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![
            layer.chain.as_str(),
            layer.parent.as_ref().map(ChainId::as_str),
            layer.diff_id.as_str(),
            i64::try_from(layer.size).unwrap_or(i64::MAX)
        ],
    )?;
    Ok(())
}

fn record(row: &rusqlite::Row<'_>) -> Result<LayerRecord> {
    let parent = match column::<Option<String>>(row, 1)? {
        Some(_) => Some(parsed(row, 1)?),
        None => None,
    };
    Ok(LayerRecord {
        chain: parsed(row, 0)?,
        parent,
        diff_id: parsed(row, 2)?,
        size: u64::try_from(column::<i64>(row, 3)?).unwrap_or(0),
    })
}

pub(crate) fn get(tx: &Tx<'_>, chain: &ChainId) -> Result<Option<LayerRecord>> {
    tx.row("SELECT chain, parent, diff_id, size FROM layers WHERE chain = ?1", [chain.as_str()], record)
}

pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<LayerRecord>> {
    tx.rows("SELECT chain, parent, diff_id, size FROM layers", [], record)
}

pub(crate) fn delete(tx: &Tx<'_>, chain: &ChainId) -> Result<()> {
    tx.execute("DELETE FROM layers WHERE chain = ?1", [chain.as_str()])?;
    Ok(())
}
