//! `engine info`.

use engine_core::SystemInfo;
use serde_json::Value;

use crate::app::App;
use crate::args::system::Info;
use crate::exit::{Failure, Outcome};
use crate::render::template::{Purpose, Template};
use crate::render::text::escape;
use crate::render::{json, print, size, tell};

/// Tells what this engine and this host are.
pub(super) async fn info(args: Info, app: App) -> Outcome {
    let engine = app.engine().await?;
    let info: SystemInfo = engine.system().info().await?;
    let value = serde_json::to_value(&info).map_err(|e| Failure::new(format!("writing JSON: {e}")))?;
    let text = match args.format.as_deref() {
        None | Some("") => text(&value),
        Some("json") => json::line(&info)? + "\n",
        Some(source) => Template::parse(source, Purpose::Data)?.render(&value)? + "\n",
    };
    print(&text)?;
    for warning in
        value.get("Warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        tell(&format!("{}\n", escape(warning)));
    }
    Ok(0)
}

/// The lines of docker's `info`, under docker's names: what to call it, where it is, and how deep it is indented.
const LINES: &[(&str, &str)] = &[
    (" Containers", "Containers"),
    ("  Running", "ContainersRunning"),
    ("  Paused", "ContainersPaused"),
    ("  Stopped", "ContainersStopped"),
    (" Images", "Images"),
    (" Server Version", "ServerVersion"),
    (" Storage Driver", "Driver"),
    ("  ", "DriverStatus"),
    (" Logging Driver", "LoggingDriver"),
    (" Cgroup Driver", "CgroupDriver"),
    (" Cgroup Version", "CgroupVersion"),
    (" Plugins", "Plugins"),
    (" Default Runtime", "DefaultRuntime"),
    (" Security Options", "SecurityOptions"),
    (" Kernel Version", "KernelVersion"),
    (" Operating System", "OperatingSystem"),
    (" OSType", "OSType"),
    (" Architecture", "Architecture"),
    (" CPUs", "NCPU"),
    (" Total Memory", "MemTotal"),
    (" Name", "Name"),
    (" ID", "ID"),
    (" Docker Root Dir", "DockerRootDir"),
];

fn text(info: &Value) -> String {
    let mut out = format!("Client:\n Version:    {}\n\nServer:\n", env!("CARGO_PKG_VERSION"));
    for (label, name) in LINES {
        let Some(value) = info.get(name) else { continue };
        match (value, *name) {
            (Value::Array(pairs), "DriverStatus") => {
                for pair in pairs.iter().filter_map(Value::as_array) {
                    let words: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
                    out.push_str(&format!("  {}\n", escape(&words.join(": "))));
                }
            }
            (Value::Array(list), _) => {
                out.push_str(&format!("{label}:\n"));
                list.iter().for_each(|item| out.push_str(&format!("  {}\n", word(item))));
            }
            (Value::Object(plugins), _) => {
                out.push_str(&format!("{label}:\n"));
                for (kind, names) in plugins.iter().filter(|(_, names)| !names.is_null()) {
                    out.push_str(&format!("  {}: {}\n", escape(kind), word(names)));
                }
            }
            (Value::Number(bytes), "MemTotal") => {
                out.push_str(&format!("{label}: {}\n", size::binary(bytes.as_u64().unwrap_or(0))));
            }
            (value, _) => out.push_str(&format!("{label}: {}\n", word(value))),
        }
    }
    out
}

/// A value as a word, a list as several.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text).into_owned(),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join(" "),
        other => escape(&other.to_string()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_stand_in_docker_s_order_and_what_is_not_known_is_left_out() {
        let info = json!({
            "Containers": 2, "ContainersRunning": 1, "Images": 3, "Driver": "overlay",
            "DriverStatus": [["Backing Filesystem", "extfs"]], "MemTotal": 25_277_775_872u64,
            "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Log": null},
            "SecurityOptions": ["seccomp"], "Name": "a\u{1b}b",
        });
        assert_eq!(
            text(&info).split_once("Server:\n").expect("a server").1,
            " Containers: 2\n  Running: 1\n Images: 3\n Storage Driver: overlay\n  Backing Filesystem: extfs\n \
             Plugins:\n  Network: bridge host\n  Volume: local\n Security Options:\n  seccomp\n \
             Total Memory: 23.54GiB\n Name: a\\x1bb\n"
        );
    }
}
