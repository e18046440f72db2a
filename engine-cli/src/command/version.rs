//! `engine version`. Client and engine are one program, and shown as two where docker's users look for both.

use serde_json::{Value, json};

use crate::app::App;
use crate::args::system::Version;
use crate::exit::Outcome;
use crate::render::template::{Purpose, Template};
use crate::render::{json, print};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The architecture in Go's words.
fn architecture() -> String {
    engine_core::spec::Platform::host().architecture
}

/// `engine --version`.
pub(crate) fn short() -> Outcome {
    print(&format!("Engine version {VERSION}\n"))?;
    Ok(0)
}

/// Tells the version. Opens no store.
pub(super) async fn version(args: Version, _app: App) -> Outcome {
    let text = match args.format.as_deref() {
        None | Some("") => text(),
        Some("json") => json::line(&value())? + "\n",
        Some(source) => Template::parse(source, Purpose::Data)?.render(&value())? + "\n",
    };
    print(&text)?;
    Ok(0)
}

fn text() -> String {
    let platform = format!("linux/{}", architecture());
    format!(
        "Client:\n Version:    {VERSION}\n OS/Arch:    {platform}\n\n\
         Server: Engine (in this program; there is no daemon)\n Engine:\n  Version:   {VERSION}\n  OS/Arch:   {platform}\n"
    )
}

fn value() -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "Client": {"Version": VERSION, "Os": "linux", "Arch": architecture()},
        "Server": {
            "Platform": {"Name": "Engine"},
            "Components": [{"Name": "Engine", "Version": VERSION}],
            "Version": VERSION,
            "Os": "linux",
            "Arch": architecture(),
            "KernelVersion": kernel.trim(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_both_versions() {
        let template =
            Template::parse("{{.Client.Version}} {{.Server.Version}} {{.Server.Os}}", Purpose::Data);
        let text = template.and_then(|template| template.render(&value())).expect("renders");
        assert_eq!(text, format!("{VERSION} {VERSION} linux"));
        assert!(super::text().contains(VERSION));
    }
}
