//! Files of JSON, written whole: whoever opens one finds the old content or the new.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result, Subject};

/// Writes the file `name` of a directory.
pub(super) fn write(directory: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let path = directory.join(name);
    let json = serde_json::to_vec(value)
        .map_err(|e| Error::internal(path.display().to_string(), "it has no JSON").caused_by(e))?;
    let unfinished = directory.join(format!(".{name}"));
    fs::write(&unfinished, json)
        .and_then(|()| fs::rename(&unfinished, &path))
        .subject(|| path.display().to_string())
}
