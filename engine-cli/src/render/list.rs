//! Lists: rows of named fields, printed as a table, as JSON or by a template.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use serde::Serialize;

use super::template::{Purpose, Template};
use super::text::{escape, escape_block};
use super::{json, table, tell};
use crate::exit::Failure;

/// What a list can show.
pub(crate) struct List {
    /// Its fields, with the heading of each.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// The template of its table.
    pub(crate) table: &'static str,
    /// The field that `--quiet` shows.
    pub(crate) quiet: &'static str,
}

/// A row: its fields by name, all of them text as docker's are.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Row {
    fields: BTreeMap<&'static str, String>,
    #[serde(skip)]
    labels: BTreeMap<String, String>,
}

impl Row {
    /// A row of these fields.
    pub(crate) fn new<const N: usize>(fields: [(&'static str, String); N]) -> Row {
        Row { fields: fields.into(), labels: BTreeMap::new() }
    }

    /// The same with labels, for the field `Labels` and for `.Label "key"`.
    #[must_use]
    pub(crate) fn with_labels(mut self, labels: &BTreeMap<String, String>) -> Row {
        let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.fields.insert("Labels", pairs.join(","));
        self.labels = labels.clone();
        self
    }

    /// The same row without control characters.
    fn escaped(&self) -> Row {
        let clean = |text: &String| escape(text).into_owned();
        Row {
            fields: self.fields.iter().map(|(name, value)| (*name, clean(value))).collect(),
            labels: self.labels.iter().map(|(key, value)| (key.clone(), clean(value))).collect(),
        }
    }
}

/// How to print a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Rows of JSON.
    Json,
    /// A table of this template.
    Table(String),
    /// Lines of this template.
    Lines(String),
}

impl Shape {
    /// What was asked for: by `--format`, by `--quiet`, or by the user's configuration, which neither overrides.
    pub(crate) fn of(
        list: &List,
        format: Option<&str>,
        quiet: bool,
        configured: Option<&str>,
        wide: &str,
    ) -> Shape {
        let only = || Shape::Lines(format!("{{{{.{}}}}}", list.quiet));
        let asked = format.filter(|format| !format.is_empty());
        if quiet {
            if asked.is_some_and(|format| format != "table") {
                tell("WARNING: Ignoring custom format, because both --format and --quiet are set.\n");
            }
            return only();
        }
        match asked.or(configured).unwrap_or("table").trim() {
            "json" => Shape::Json,
            "table" => Shape::Table(wide.to_owned()),
            custom => match custom.strip_prefix("table") {
                Some(template) if template.starts_with(char::is_whitespace) => {
                    Shape::Table(unescape(template.trim_start()))
                }
                _ => Shape::Lines(unescape(custom)),
            },
        }
    }

    /// Whether the template names the field.
    pub(crate) fn names(&self, field: &str) -> bool {
        match self {
            Shape::Json => false,
            Shape::Table(template) | Shape::Lines(template) => template.contains(&format!(".{field}")),
        }
    }
}

/// `\t` and `\n` as a shell passes them on.
fn unescape(template: &str) -> String {
    template.replace("\\t", "\t").replace("\\n", "\n")
}

/// The list as text.
///
/// # Errors
/// A template that cannot be understood, or names a field that the list has not.
pub(crate) fn render(list: &List, shape: &Shape, rows: &[Row]) -> Result<String, Failure> {
    render_for(list, shape, rows, std::io::stdout().is_terminal())
}

fn render_for(list: &List, shape: &Shape, rows: &[Row], terminal: bool) -> Result<String, Failure> {
    let mut out = String::new();
    match shape {
        Shape::Json => {
            for row in rows {
                out.push_str(&json::line(row)?);
                out.push('\n');
            }
        }
        Shape::Lines(source) => {
            let template = Template::parse(source, Purpose::Data)?;
            for row in rows {
                let line = template.render_row(row, &row.labels)?;
                out.push_str(&if terminal { escape_block(&line) } else { line.as_str().into() });
                out.push('\n');
            }
        }
        Shape::Table(source) => {
            let headings: BTreeMap<_, _> = list.fields.iter().copied().collect();
            out.push_str(&Template::parse(source, Purpose::Headings)?.render(&headings)?);
            out.push('\n');
            let template = Template::parse(source, Purpose::Data)?;
            for row in rows {
                let row = row.escaped();
                out.push_str(&template.render_row(&row, &row.labels)?);
                out.push('\n');
            }
            out = table::align(&out);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List {
        fields: &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Labels", "LABELS")],
        table: "{{.ID}}\t{{.Names}}",
        quiet: "ID",
    };

    fn shown(format: Option<&str>, quiet: bool, terminal: bool) -> String {
        let labels = BTreeMap::from([("a.b".to_owned(), "1".to_owned()), ("c".to_owned(), String::new())]);
        let rows = [
            Row::new([("ID", "49e268a53371".to_owned()), ("Names", "web\u{1b}[m".to_owned())])
                .with_labels(&labels),
            Row::new([("ID", "7834124a5fe0".to_owned()), ("Names", "db".to_owned())])
                .with_labels(&BTreeMap::new()),
        ];
        let shape = Shape::of(&LIST, format, quiet, None, LIST.table);
        render_for(&LIST, &shape, &rows, terminal).unwrap_or_else(|e| e.report())
    }

    #[test]
    fn a_table_has_headings_and_no_control_characters() {
        assert_eq!(
            shown(None, false, false),
            "CONTAINER ID   NAMES\n49e268a53371   web\\x1b[m\n7834124a5fe0   db\n"
        );
        assert_eq!(shown(None, true, false), "49e268a53371\n7834124a5fe0\n");
        assert_eq!(shown(Some("{{.Names}}"), true, false), "49e268a53371\n7834124a5fe0\n");
    }

    #[test]
    fn a_table_of_one_s_own_has_headings_too() {
        assert_eq!(
            shown(Some(r#"table {{.Names}}\t{{.Label "a.b"}}\t{{upper .ID}}"#), false, false),
            "NAMES       b         CONTAINER ID\nweb\\x1b[m   1         49E268A53371\ndb                    7834124A5FE0\n"
        );
    }

    #[test]
    fn templates_and_json_are_exact_but_on_a_terminal() {
        assert_eq!(shown(Some("{{.Names}}"), false, false), "web\u{1b}[m\ndb\n");
        assert_eq!(shown(Some("{{.Names}}"), false, true), "web\\x1b[m\ndb\n");
        assert_eq!(
            shown(Some("json"), false, true).lines().next(),
            Some("{\"ID\":\"49e268a53371\",\"Labels\":\"a.b=1,c=\",\"Names\":\"web\\u001b[m\"}")
        );
        assert!(shown(Some("{{.Nope}}"), false, false).contains("Nope"));
    }

    #[test]
    fn the_user_s_configuration_comes_after_the_flags() {
        let of = |format, quiet| Shape::of(&LIST, format, quiet, Some("{{.Names}}"), LIST.table);
        assert_eq!(of(None, false), Shape::Lines("{{.Names}}".into()));
        assert_eq!(of(Some("table"), false), Shape::Table(LIST.table.into()));
        assert_eq!(of(None, true), Shape::Lines("{{.ID}}".into()));
        assert!(of(None, false).names("Names") && !of(None, false).names("Size"));
    }
}
