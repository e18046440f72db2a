//! Log drivers: what docker's options mean, and what the monitor is to do for them.
//!
//! All of them keep a file of one form, so that `logs` works whatever the driver: `local` and `journald` differ from
//! `json-file` in where it lies and in what is kept without an option, and `journald` tells the host's journal too.

use std::collections::BTreeMap;
use std::path::Path;

use crate::container::facts;
use crate::error::{Error, ErrorKind, Result};
use crate::image::config::ImageConfig;
use crate::journal;
use crate::runtime::driver::{HostJournal, Logging};
use crate::spec::LogSpec;
use crate::store::containers::ContainerRow;

/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// A driver: its name, the options that are its own, and what holds without them.
struct Driver {
    name: &'static str,
    /// What is before the names of the options of the file.
    prefix: &'static str,
    /// Bytes of a file that is not put aside yet.
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
    /// `k` is 1000 or 1024.
    base: u64,
    /// Whether it says more than the line: `labels`, `env`, `tag`.
    attributes: bool,
}

const DRIVERS: [Driver; 3] = [
    Driver {
        name: "json-file",
        prefix: "",
        max_size: None,
        max_files: 1,
        compress: false,
        base: 1000,
        attributes: true,
    },
    Driver {
        name: "local",
        prefix: "",
        max_size: Some(20 << 20),
        max_files: 5,
        compress: true,
        base: 1024,
        attributes: false,
    },
    Driver {
        name: "journald",
        prefix: "cache-",
        max_size: Some(20 << 20),
        max_files: 5,
        compress: true,
        base: 1024,
        attributes: true,
    },
];
const NONE: &str = "none";
/// What every driver takes. A monitor never waits for a log, so that both modes are one.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];

/// The drivers that there are on this host.
pub(crate) fn names() -> Vec<&'static str> {
    let here = |driver: &&Driver| driver.name != "journald" || has_journal();
    DRIVERS.iter().filter(here).map(|driver| driver.name).chain([NONE]).collect()
}

fn has_journal() -> bool {
    Path::new(JOURNAL).exists()
}

/// Refuses a log that cannot be, in docker's words.
pub(in crate::container) fn check(log: &LogSpec) -> Result<()> {
    if log.driver == NONE {
        return match log.options.is_empty() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::InvalidInput, "invalid logging opts for driver none")),
        };
    }
    let driver = driver(&log.driver)?;
    let settings = Settings::parse(driver, &log.options)?;
    settings.tag.as_deref().map_or(Ok(()), |tag| expand(tag, |_| Some(String::new())).map(drop))?;
    if driver.name == "journald" && !has_journal() {
        return Err(Error::new(ErrorKind::Unsupported, "journald is not enabled on this host")
            .because(format!("{JOURNAL} is not there"))
            .with_remedy("use the log driver local"));
    }
    Ok(())
}

fn driver(name: &str) -> Result<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.name == name).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "logger")
            .because(format!("no log driver named '{name}' is registered"))
            .with_remedy(format!("use one of: {}", names().join(", ")))
    })
}

/// What the options ask for.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
    labels: Vec<String>,
    env: Vec<String>,
    tag: Option<String>,
}

impl Settings {
    fn parse(driver: &Driver, options: &BTreeMap<String, String>) -> Result<Settings> {
        let mut settings = Settings {
            max_size: driver.max_size,
            max_files: driver.max_files,
            compress: driver.compress,
            labels: Vec::new(),
            env: Vec::new(),
            tag: None,
        };
        let list = |value: &str| value.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        for (key, value) in options {
            match (key.strip_prefix(driver.prefix).unwrap_or_default(), key.as_str(), driver.attributes) {
                ("max-size", ..) => settings.max_size = Some(max_size(value, driver.base)?),
                ("max-file", ..) => settings.max_files = max_file(value)?,
                ("compress", ..) => settings.compress = flag(key, value)?,
                (_, "labels", true) => settings.labels = list(value),
                (_, "env", true) => settings.env = list(value),
                (_, "tag", true) => settings.tag = Some(value.clone()).filter(|tag| !tag.is_empty()),
                (_, "mode", _) if matches!(value.as_str(), "" | "blocking" | "non-blocking") => {}
                (_, "mode", _) => return Err(wrong(format!("logging mode not supported: {value}"))),
                (_, "max-buffer-size", _) => {
                    if options.get("mode").map(String::as_str) != Some("non-blocking") {
                        return Err(wrong(
                            "max-buffer-size option is only supported with 'mode=non-blocking'",
                        ));
                    }
                    size(value, 1024)?;
                }
                _ => return Err(unknown(driver, key)),
            }
        }
        let asked = options.contains_key(&format!("{}compress", driver.prefix));
        if settings.compress && (settings.max_files < 2 || settings.max_size.is_none()) {
            if asked {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "compress cannot be true when max-file is less than 2 or max-size is not set",
                ));
            }
            settings.compress = false;
        }
        Ok(settings)
    }
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, "logger").because(reason)
}

fn unknown(driver: &Driver, key: &str) -> Error {
    let file = ["max-size", "max-file", "compress"].map(|option| format!("{}{option}", driver.prefix));
    let attributes = if driver.attributes { &["labels", "env", "tag"][..] } else { &[] };
    let known: Vec<&str> =
        file.iter().map(String::as_str).chain(attributes.iter().copied()).chain(COMMON).collect();
    let name = driver.name;
    Error::new(ErrorKind::InvalidInput, format!("unknown log opt '{key}' for {name} log driver"))
        .with_remedy(format!("use one of: {}", known.join(", ")))
}

fn max_size(text: &str, base: u64) -> Result<u64> {
    match size(text, base)? {
        0 => Err(Error::new(ErrorKind::InvalidInput, "max-size must be a positive number")),
        size => Ok(size),
    }
}

fn max_file(text: &str) -> Result<u32> {
    let invalid =
        |reason: &str| Error::new(ErrorKind::InvalidInput, format!("max-file {text:?}")).because(reason);
    match text.parse::<u32>() {
        Ok(0) => Err(Error::new(ErrorKind::InvalidInput, "max-file cannot be less than 1")),
        Ok(count) => Ok(count),
        Err(_) => Err(invalid("it is not a number of files")),
    }
}

fn flag(key: &str, text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::invalid(format!("log opt {key}={text:?}"), "must be true or false")),
    }
}

/// `10m`, `1.5GB`, `2kib`: bytes, in Docker's notation.
fn size(text: &str, base: u64) -> Result<u64> {
    let invalid = || Error::new(ErrorKind::InvalidInput, format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let power = match unit.trim_start().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let bytes = number * (base as f64).powi(power);
    if bytes.is_finite() && bytes < i64::MAX as f64 { Ok(bytes as u64) } else { Err(invalid()) }
}

/// What the monitor is to do for the container's log.
pub(in crate::container) fn logging(row: &ContainerRow, config: Option<&ImageConfig>) -> Result<Logging> {
    let log = &row.record.spec.log;
    if log.driver == NONE || (log.driver == DRIVERS[0].name && log.options.is_empty()) {
        return Ok(Logging::default());
    }
    let driver = driver(&log.driver)?;
    let settings = Settings::parse(driver, &log.options)?;
    let mut attributes = attributes(row, config, &settings);
    let journal = (driver.name == "journald").then(|| -> Result<HostJournal> {
        let tag = expand(settings.tag.as_deref().unwrap_or("{{.ID}}"), |field| tag_field(row, field))?;
        Ok(HostJournal { socket: JOURNAL.into(), fields: fields(row, &tag, &attributes) })
    });
    let journal = journal.transpose()?;
    if let Some(tag) = &settings.tag {
        attributes.insert("tag".to_owned(), expand(tag, |field| tag_field(row, field))?);
    }
    let members = journal::members(&attributes);
    Ok(Logging {
        max_size: settings.max_size,
        max_files: settings.max_files,
        compress: settings.compress,
        attributes: if members.is_empty() { members } else { format!("\"attrs\":{{{members}}},") },
        journal,
    })
}

/// The labels and variables that the options choose.
fn attributes(
    row: &ContainerRow,
    config: Option<&ImageConfig>,
    settings: &Settings,
) -> BTreeMap<String, String> {
    let labels = facts::labels(&row.record);
    let mut chosen: BTreeMap<String, String> = settings
        .labels
        .iter()
        .filter_map(|key| labels.get(key).map(|value| (key.clone(), value.clone())))
        .collect();
    let of_image = config.map(|config| config.config.env.as_slice()).unwrap_or_default();
    // What the container sets comes after, and counts.
    for variable in of_image.iter().chain(&row.record.spec.env) {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        if settings.env.iter().any(|wanted| wanted == key) {
            chosen.insert(key.to_owned(), value.to_owned());
        }
    }
    chosen
}

/// The fields that docker gives the entries of the host's journal.
fn fields(row: &ContainerRow, tag: &str, attributes: &BTreeMap<String, String>) -> String {
    let image = facts::image(&row.record);
    let own = [
        ("CONTAINER_ID", row.id.short()),
        ("CONTAINER_ID_FULL", row.id.as_str()),
        ("CONTAINER_NAME", row.name.as_str()),
        ("CONTAINER_TAG", tag),
        ("IMAGE_NAME", &image),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let mut text = String::new();
    // A field is a line: what has several would end it.
    let mut push = |key: &str, value: &str| text.push_str(&format!("{key}={}\n", value.replace('\n', " ")));
    own.iter().for_each(|(key, value)| push(key, value));
    for (key, value) in attributes {
        // The journal takes capitals, digits and underscores, and keeps names that begin with one for itself.
        let key = key.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let key = key.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
        if !key.is_empty() && key.len() <= 64 && !own.iter().any(|(known, _)| *known == key) {
            push(key, value);
        }
    }
    text
}

/// A tag with its fields, `{{.Name}}`, put in. Docker's templates can do more; nobody's tags do.
fn expand(tag: &str, field: impl Fn(&str) -> Option<String>) -> Result<String> {
    let invalid = |reason: String| {
        Error::invalid(format!("log tag {tag:?}"), reason)
            .with_remedy(format!("use words and {{{{.Field}}}} with one of: {}", FIELDS.join(", ")))
    };
    let (mut text, mut rest) = (String::new(), tag);
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or_else(|| invalid("\"{{\" has no end".into()))?;
        let name = inside.trim().strip_prefix('.').filter(|name| FIELDS.contains(name));
        let value =
            name.and_then(&field).ok_or_else(|| invalid(format!("{:?} is no field", inside.trim())))?;
        text.push_str(before);
        text.push_str(&value);
        rest = after;
    }
    Ok(text + rest)
}

const FIELDS: [&str; 6] = ["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName"];

fn tag_field(row: &ContainerRow, field: &str) -> Option<String> {
    let image = row.record.image.as_ref();
    Some(match field {
        "ID" => row.id.short().to_owned(),
        "FullID" => row.id.to_string(),
        "Name" => row.name.to_string(),
        "ImageID" => image.map(|image| image.short().to_owned()).unwrap_or_default(),
        "ImageFullID" => image.map(ToString::to_string).unwrap_or_default(),
        "ImageName" => facts::image(&row.record),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: &str, options: &[(&str, &str)]) -> LogSpec {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        LogSpec { driver: driver.to_owned(), options }
    }

    fn settings(log: &LogSpec) -> Result<Settings> {
        Settings::parse(driver(&log.driver)?, &log.options)
    }

    #[test]
    fn options_mean_what_docker_s_do() {
        let plain = settings(&log("json-file", &[])).expect("is well formed");
        assert_eq!((plain.max_size, plain.max_files, plain.compress), (None, 1, false));
        let some =
            settings(&log("json-file", &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]));
        let some = some.expect("is well formed");
        assert_eq!((some.max_size, some.max_files, some.compress), (Some(10_000_000), 3, true));
        let local = settings(&log("local", &[])).expect("is well formed");
        assert_eq!((local.max_size, local.max_files, local.compress), (Some(20 << 20), 5, true));
        let local =
            settings(&log("local", &[("max-size", "1k"), ("max-file", "1")])).expect("is well formed");
        assert_eq!((local.max_size, local.max_files, local.compress), (Some(1024), 1, false));
        let journald = settings(&log("journald", &[("cache-max-size", "1k"), ("tag", "x")]));
        assert_eq!(journald.expect("is well formed").max_size, Some(1024));
    }

    #[test]
    fn bad_options_are_refused_in_docker_s_words() {
        for (wish, says) in [
            (log("foo", &[]), "logger: no log driver named 'foo' is registered"),
            (log("none", &[("max-size", "1m")]), "invalid logging opts for driver none"),
            (log("json-file", &[("foo", "1")]), "unknown log opt 'foo' for json-file log driver"),
            (log("local", &[("tag", "x")]), "unknown log opt 'tag' for local log driver"),
            (log("journald", &[("max-size", "1m")]), "unknown log opt 'max-size' for journald log driver"),
            (log("json-file", &[("max-size", "1x")]), "invalid size: '1x'"),
            (log("json-file", &[("max-size", "-1")]), "invalid size: '-1'"),
            (log("json-file", &[("max-size", "0")]), "max-size must be a positive number"),
            (log("json-file", &[("max-file", "0")]), "max-file cannot be less than 1"),
            (log("json-file", &[("max-file", "x")]), "max-file \"x\""),
            (
                log("json-file", &[("compress", "true")]),
                "compress cannot be true when max-file is less than 2",
            ),
            (log("json-file", &[("mode", "later")]), "logger: logging mode not supported: later"),
            (log("json-file", &[("max-buffer-size", "1m")]), "max-buffer-size option is only supported with"),
            (log("json-file", &[("tag", "{{.Foo}}")]), "log tag \"{{.Foo}}\""),
            (log("json-file", &[("tag", "{{.Name")]), "has no end"),
        ] {
            let error = check(&wish).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        for good in [
            log("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "4m"), ("max-size", "1.5kB")]),
            log("json-file", &[("tag", "{{.Name}}/{{ .ID }}"), ("labels", "a,b"), ("env", "C")]),
        ] {
            assert!(check(&good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_tag_has_its_fields_put_in() {
        let field = |name: &str| Some(name.to_lowercase());
        assert_eq!(expand("a/{{.Name}}-{{ .ID }}!", field).expect("is well formed"), "a/name-id!");
    }

    proptest::proptest! {
        #[test]
        fn options_of_any_text_are_refused_or_not(value in ".{0,20}") {
            for key in ["max-size", "max-file", "compress", "tag", "labels"] {
                let _ = check(&log("json-file", &[(key, &value)]));
            }
        }
    }
}
