//! Where callers look for what went wrong: the file of `--log`, in the format that they ask for.

use std::fs::{File, OpenOptions};
use std::io::Write;

use engine_core::spec::Timestamp;
use serde_json::json;

use super::args::Global;
use crate::exit::Failure;
use crate::render;

/// The log.
#[derive(Default)]
pub(super) struct Log {
    file: Option<File>,
    json: bool,
}

impl Log {
    /// As the flags say.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no such format.
    pub(super) fn open(global: &Global) -> Result<Log, Failure> {
        let json = match global.log_format.as_str() {
            "json" => true,
            "text" | "" => false,
            format => return Err(Failure::new(format!("invalid log-format: {format}"))),
        };
        let file = match &global.log {
            Some(path) if !path.as_os_str().is_empty() => Some(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|e| Failure::new(format!("log {}: {e}", path.display())))?,
            ),
            _ => None,
        };
        Ok(Log { file, json })
    }

    /// Writes down a failure, and says it on standard error.
    pub(super) fn error(&self, message: &str) {
        self.write("error", message);
        render::tell(&format!("{message}\n"));
    }

    /// Writes down something that is no reason to fail.
    pub(super) fn warn(&self, message: &str) {
        self.write("warning", message);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let time = Timestamp::now();
        let line = match self.json {
            true => json!({ "level": level, "msg": message, "time": time }).to_string(),
            false => format!("time=\"{time}\" level={level} msg={message:?}"),
        };
        // If even this fails there is still standard error.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
