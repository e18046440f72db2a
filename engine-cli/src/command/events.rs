//! `engine events`.

use engine_core::SystemEvent;
use engine_core::spec::{EventsSpec, Timestamp};
use serde_json::{Value, json};

use super::filter::filter;
use crate::app::App;
use crate::args::parse::time::moment;
use crate::args::system::Events;
use crate::exit::{Failure, Outcome};
use crate::render::template::{Purpose, Template};
use crate::render::text::escape;
use crate::render::zone::Zone;
use crate::render::{json, print};

/// Prints what happens, a line for each event, until the time that was given or a signal ends it.
pub(super) async fn events(args: Events, app: App) -> Outcome {
    let time = |text: Option<String>| {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| moment(&text, Timestamp::now())).transpose().map_err(Failure::new)
    };
    let mut spec = EventsSpec::default();
    spec.since = time(args.since)?;
    spec.until = time(args.until)?;
    spec.filter = filter(args.filter);
    let shape = match args.format.as_deref() {
        None | Some("") => Shape::Line(Zone::local()),
        // The whole message is docker's, not the fields that templates have.
        Some("json" | "{{json .}}") => Shape::Json,
        Some(source) => Shape::Template(Template::parse(source, Purpose::Data)?),
    };
    let engine = app.engine().await?;
    let mut events = engine.system().events(spec).await?;
    while let Some(event) = events.next().await? {
        print(&shape.render(&event)?)?;
    }
    Ok(0)
}

enum Shape {
    /// Docker's, by this clock.
    Line(Zone),
    Json,
    Template(Template),
}

impl Shape {
    fn render(&self, event: &SystemEvent) -> Result<String, Failure> {
        Ok(match self {
            Shape::Line(zone) => line(event, zone),
            Shape::Json => json::line(event)? + "\n",
            Shape::Template(template) => template.render(&fields(event))? + "\n",
        })
    }
}

/// `2026-11-28T04:00:00.123456789Z container start ID (image=busybox, name=web)`.
fn line(event: &SystemEvent, zone: &Zone) -> String {
    let attributes: Vec<String> =
        event.attributes.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    let time = zone.rfc3339(event.time);
    let mut line = format!("{time} {} {} {}", event.kind.as_str(), escape(&event.action), escape(&event.id));
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line.push('\n');
    line
}

/// The fields of docker's message, by the names that its templates have.
fn fields(event: &SystemEvent) -> Value {
    let from = event.attributes.get("image").filter(|_| event.kind.as_str() == "container");
    json!({
        "Type": event.kind, "Action": event.action, "Status": event.action, "ID": event.id,
        "From": from.cloned().unwrap_or_default(), "Actor": { "ID": event.id, "Attributes": event.attributes },
        "Scope": "local", "Time": event.time.seconds(), "TimeNano": event.time.nanos(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> SystemEvent {
        serde_json::from_value(json!({
            "Type": "container", "Action": "start", "timeNano": 1_700_000_000_000_000_007i64,
            "Actor": { "ID": "abc", "Attributes": { "name": "w\u{1b}eb", "image": "box" } },
        }))
        .expect("a message")
    }

    #[test]
    fn a_line_is_docker_s_and_nobody_paints_the_terminal() {
        assert_eq!(
            line(&event(), &Zone::default()),
            "2023-11-14T22:13:20.000000007Z container start abc (image=box, name=w\\x1beb)\n"
        );
    }

    #[test]
    fn templates_have_docker_s_fields() {
        let source = "{{.Type}} {{.Action}} {{.ID}} {{.From}} {{.Actor.ID}} {{index .Actor.Attributes \"image\"}} {{.TimeNano}}";
        let template = Template::parse(source, Purpose::Data).expect("parses");
        let text = Shape::Template(template).render(&event()).expect("renders");
        assert_eq!(text, "container start abc box abc box 1700000000000000007\n");
        let text = Shape::Json.render(&event()).expect("renders");
        assert!(
            text.starts_with("{\"status\":\"start\",\"id\":\"abc\",\"from\":\"box\",\"Type\":\"container\""),
            "{text}"
        );
    }
}
