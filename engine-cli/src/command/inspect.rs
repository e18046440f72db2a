//! `engine inspect`, and the same for objects of one kind.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use engine_core::container::ListSpec;
use engine_core::{Engine, Error, ErrorKind};
use serde_json::Value;

use super::each::tell_failure;
use crate::app::App;
use crate::args::system::Kind;
use crate::args::{container, image, network, system, volume};
use crate::exit::{Failure, Outcome};
use crate::render::template::{Purpose, Template};
use crate::render::text::escape_block;
use crate::render::{json, print};

/// The order in which docker looks for a name.
const KINDS: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

/// Shows objects of any kind.
pub(super) async fn any(args: system::Inspect, app: App) -> Outcome {
    let kinds = args.kind.map_or_else(|| KINDS.to_vec(), |kind| vec![kind]);
    show(&app, &kinds, &args.names, args.size, args.format.as_deref()).await
}

/// Shows containers.
pub(super) async fn containers(args: container::Inspect, app: App) -> Outcome {
    show(&app, &[Kind::Container], &args.names, args.size, args.format.as_deref()).await
}

/// Shows images.
pub(super) async fn images(args: image::Inspect, app: App) -> Outcome {
    show(&app, &[Kind::Image], &args.names, false, args.format.as_deref()).await
}

/// Shows networks.
pub(super) async fn networks(args: network::Inspect, app: App) -> Outcome {
    show(&app, &[Kind::Network], &args.names, false, args.format.as_deref()).await
}

/// Shows volumes.
pub(super) async fn volumes(args: volume::Inspect, app: App) -> Outcome {
    show(&app, &[Kind::Volume], &args.names, false, args.format.as_deref()).await
}

/// What docker's inspect has under that name.
pub(super) fn section<'a>(details: &'a BTreeMap<String, Value>, name: &str) -> Option<&'a Value> {
    details.get(name)
}

/// Whether the section has the name, and it is true.
pub(super) fn is_set(section: Option<&Value>, name: &str) -> bool {
    section.and_then(|section| section.get(name)).and_then(Value::as_bool).unwrap_or(false)
}

async fn show(app: &App, kinds: &[Kind], names: &[String], size: bool, format: Option<&str>) -> Outcome {
    let format = Format::parse(format)?;
    let engine = app.engine().await?;
    let mut found = Vec::with_capacity(names.len());
    let mut missing = Vec::new();
    for name in names {
        match find(&engine, kinds, name, size).await {
            Ok(object) => found.push(object),
            Err(failure) => missing.push(failure),
        }
    }
    print(&format.render(&found)?)?;
    missing.iter().for_each(tell_failure);
    Ok(u8::from(!missing.is_empty()))
}

/// The object of that name, of the first kind that has one.
async fn find(engine: &Engine, kinds: &[Kind], name: &str, size: bool) -> Result<Found, Failure> {
    for kind in kinds {
        match of_kind(engine, *kind, name, size).await {
            // Not of this kind, or a name that none of this kind can have.
            Err(e)
                if kinds.len() > 1 && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {}
            Err(e) => return Err(e.into()),
            Ok(found) => return found,
        }
    }
    Err(Failure::new(format!("No such object: {name}")))
}

/// What was found: as JSON with the order of its fields, which a template does not care for.
struct Found {
    indented: String,
    value: Value,
}

impl Found {
    fn of(object: &impl serde::Serialize, more: &[(&str, u64)]) -> Result<Found, Failure> {
        let mut value =
            serde_json::to_value(object).map_err(|e| Failure::new(format!("writing JSON: {e}")))?;
        let mut indented = json::indented(&[object])?;
        if let Value::Object(fields) = &mut value
            && !more.is_empty()
        {
            fields.extend(more.iter().map(|(name, bytes)| ((*name).to_owned(), Value::from(*bytes))));
            indented = json::indented(&[&value])?;
        }
        Ok(Found { indented, value })
    }

    /// The object's lines in the array that they are printed in.
    fn lines(&self) -> &str {
        self.indented.trim_start_matches("[\n").trim_end_matches("\n]\n")
    }
}

async fn of_kind(
    engine: &Engine,
    kind: Kind,
    name: &str,
    size: bool,
) -> Result<Result<Found, Failure>, Error> {
    Ok(match kind {
        Kind::Container => {
            let info = engine.containers().get(name).await?.inspect().await?;
            match size {
                true => Found::of(&info, &sizes(engine, info.id.as_str()).await?),
                false => Found::of(&info, &[]),
            }
        }
        Kind::Image => Found::of(&engine.images().inspect(name).await?, &[]),
        Kind::Network => Found::of(&engine.networks().get(name).await?, &[]),
        Kind::Volume => Found::of(&engine.volumes().inspect(name).await?, &[]),
    })
}

/// The bytes that a container has written, and those with its image's, under docker's names.
async fn sizes(engine: &Engine, id: &str) -> Result<[(&'static str, u64); 2], Error> {
    let mut list = ListSpec { all: true, size: true, ..ListSpec::default() };
    list.filter.add("id", id);
    let summaries = engine.containers().list(&list).await?;
    let (own, image) = summaries
        .first()
        .map_or((0, 0), |summary| (summary.size.unwrap_or(0), summary.image_size.unwrap_or(0)));
    Ok([("SizeRw", own), ("SizeRootFs", own.saturating_add(image))])
}

/// How to show objects.
enum Format {
    /// All of them in one array.
    Indented,
    /// Each on a line.
    Json,
    /// Each by a template.
    Template(Template),
}

impl Format {
    fn parse(format: Option<&str>) -> Result<Format, Failure> {
        match format {
            None | Some("") => Ok(Format::Indented),
            Some("json") => Ok(Format::Json),
            Some(source) => Template::parse(source, Purpose::Data).map(Format::Template),
        }
    }

    fn render(&self, found: &[Found]) -> Result<String, Failure> {
        match self {
            Format::Indented if found.is_empty() => Ok("[]\n".to_owned()),
            Format::Indented => {
                let objects: Vec<&str> = found.iter().map(Found::lines).collect();
                Ok(format!("[\n{}\n]\n", objects.join(",\n")))
            }
            Format::Json => {
                let values: Vec<&Value> = found.iter().map(|object| &object.value).collect();
                Ok(json::line(&values)? + "\n")
            }
            Format::Template(template) => {
                let mut out = String::new();
                for object in found {
                    let text = template.render(&object.value)?;
                    let to_terminal = std::io::stdout().is_terminal();
                    out.push_str(&if to_terminal { escape_block(&text) } else { text.as_str().into() });
                    out.push('\n');
                }
                Ok(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<Found> {
        [json!({"Id": "a", "State": {"Running": true}}), json!({"Id": "b", "Args": []})]
            .iter()
            .map(|value| Found::of(value, &[]).expect("serialises"))
            .collect()
    }

    fn shown(format: Option<&str>, found: &[Found]) -> String {
        Format::parse(format).and_then(|format| format.render(found)).unwrap_or_else(|e| e.report())
    }

    #[test]
    fn objects_stand_in_one_array() {
        assert_eq!(shown(None, &[]), "[]\n");
        let text = shown(None, &objects());
        assert_eq!(serde_json::from_str::<Vec<Value>>(&text).expect("JSON").len(), 2);
        assert!(
            text.starts_with("[\n    {\n        \"Id\": \"a\",\n") && text.ends_with("    }\n]\n"),
            "{text}"
        );
        assert_eq!(shown(Some("json"), &objects()).lines().count(), 1);
    }

    #[test]
    fn templates_are_rendered_for_each() {
        assert_eq!(shown(Some("{{.Id}}"), &objects()), "a\nb\n");
        assert!(shown(Some("{{.State.Running}}"), &objects()).contains("State"), "the second has none");
    }

    #[test]
    fn sizes_are_added_where_they_were_asked_for() {
        let found = Found::of(&json!({"Id": "a"}), &[("SizeRw", 5)]).expect("serialises");
        assert!(found.lines().contains("\"SizeRw\": 5"));
        let config = json!({"Tty": true});
        assert!(is_set(Some(&config), "Tty") && !is_set(Some(&config), "OpenStdin") && !is_set(None, "Tty"));
    }
}
