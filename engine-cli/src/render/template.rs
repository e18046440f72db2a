//! `--format`: Go's templates with docker's functions. The one place that knows the template engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{MissingKey, TemplateError, Value, ValueFunc};
use serde::Serialize;

use crate::exit::Failure;

/// The labels that `.Label "key"` looks into, for the row being rendered.
type Labels = Arc<Mutex<BTreeMap<String, String>>>;

/// A template that was understood.
pub(crate) struct Template {
    template: gotmpl::Template,
    labels: Labels,
}

/// What a template is rendered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Data.
    Data,
    /// The headings of a table: functions that change a value leave a heading as it is.
    Headings,
}

impl Template {
    /// Understands a template.
    ///
    /// # Errors
    /// What the template's syntax is wrong in.
    pub(crate) fn parse(source: &str, purpose: Purpose) -> Result<Template, Failure> {
        let labels = Labels::default();
        let mut template = gotmpl::Template::new("").missing_key(MissingKey::Error);
        for (name, function) in functions(purpose) {
            template = template.func(name, move |args| function(args));
        }
        let find = Arc::clone(&labels);
        template = template.func("label", move |args| {
            let key = text(args, 0);
            match purpose {
                Purpose::Headings => Ok(label_heading(&key).into_value()),
                Purpose::Data => {
                    let labels = find.lock().unwrap_or_else(PoisonError::into_inner);
                    Ok(labels.get(&key).cloned().unwrap_or_default().into_value())
                }
            }
        });
        let template = template
            .parse(&methods(source))
            .map_err(|e| Failure::new(format!("template parsing error: {e}")))?;
        Ok(Template { template, labels })
    }

    /// Renders anything that serialises.
    ///
    /// # Errors
    /// A field that is not there, or a function that does not fit.
    pub(crate) fn render(&self, data: &impl Serialize) -> Result<String, Failure> {
        let failed = |e: TemplateError| Failure::new(format!("template parsing error: {e}"));
        let value = gotmpl::to_value(data).map_err(failed)?;
        self.template.execute_to_string(&value).map_err(failed)
    }

    /// Renders a row of a list, whose labels `.Label "key"` finds.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(crate) fn render_row(
        &self,
        data: &impl Serialize,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        labels.clone_into(&mut self.labels.lock().unwrap_or_else(PoisonError::into_inner));
        self.render(data)
    }
}

/// The last part of a label's name, as docker heads its column.
fn label_heading(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ")
}

/// The template engine has fields but no methods: `.Label "key"`, docker's only one, becomes a function's call.
fn methods(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once(".Label") {
        out.push_str(before);
        let is_method = after.trim_start().starts_with(['"', '`']) && after.starts_with(char::is_whitespace);
        out.push_str(if is_method { "label" } else { ".Label" });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Short for the values that functions give.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::String(self.into())
    }
}

/// The argument as text; nothing for one that is missing.
fn text(args: &[Value], i: usize) -> String {
    match args.get(i) {
        None | Some(Value::Nil) => String::new(),
        Some(value) => value.to_string(),
    }
}

/// The argument as a small number that is not negative.
fn number(args: &[Value], i: usize) -> usize {
    match args.get(i) {
        // More than that is a mistake, and would only fill the memory.
        Some(Value::Int(n)) => usize::try_from(*n).unwrap_or(0).min(4096),
        _ => 0,
    }
}

fn functions(purpose: Purpose) -> Vec<(&'static str, ValueFunc)> {
    const NAMES: [&str; 8] = ["json", "join", "split", "lower", "upper", "title", "pad", "truncate"];
    let first: ValueFunc = Arc::new(|args: &[Value]| Ok(args.first().cloned().unwrap_or(Value::Nil)));
    if purpose == Purpose::Headings {
        let pad: ValueFunc = Arc::new(pad);
        return NAMES
            .into_iter()
            .map(|name| (name, if name == "pad" { Arc::clone(&pad) } else { Arc::clone(&first) }))
            .collect();
    }
    let all: [ValueFunc; 8] = [
        Arc::new(|args| Ok(to_json(args.first().unwrap_or(&Value::Nil)).to_string().into_value())),
        Arc::new(join),
        Arc::new(|args| {
            let (whole, separator) = (text(args, 0), text(args, 1));
            let parts: Vec<Value> =
                whole.split(&separator).map(|part| part.to_owned().into_value()).collect();
            Ok(Value::List(parts.into()))
        }),
        Arc::new(|args| Ok(text(args, 0).to_lowercase().into_value())),
        Arc::new(|args| Ok(text(args, 0).to_uppercase().into_value())),
        Arc::new(|args| Ok(title(&text(args, 0)).into_value())),
        Arc::new(pad),
        Arc::new(|args| Ok(text(args, 0).chars().take(number(args, 1)).collect::<String>().into_value())),
    ];
    NAMES.into_iter().zip(all).collect()
}

fn join(args: &[Value]) -> gotmpl::Result<Value> {
    match args.first() {
        Some(Value::List(parts)) => {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            Ok(parts.join(&text(args, 1)).into_value())
        }
        None | Some(Value::Nil) => Ok(String::new().into_value()),
        Some(other) => Err(TemplateError::TypeMismatch { expected: "list", got: other.type_name() }),
    }
}

/// Spaces before and after, unless there is nothing between them.
fn pad(args: &[Value]) -> gotmpl::Result<Value> {
    let inner = text(args, 0);
    let spaces = |i| " ".repeat(number(args, i));
    Ok(if inner.is_empty() { inner.into_value() } else { (spaces(1) + &inner + &spaces(2)).into_value() })
}

/// Each word with a capital.
fn title(text: &str) -> String {
    let mut at_start = true;
    text.chars()
        .flat_map(|c| {
            let first = std::mem::replace(&mut at_start, c.is_whitespace());
            if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

/// The template engine's values do not serialise themselves.
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Float(f) => (*f).into(),
        Value::String(s) => serde_json::Value::String(s.to_string()),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn render(source: &str) -> String {
        let data = json!({
            "Name": "web", "Image": "Alpine", "ID": "7834124a5fe0", "State": {"Running": true, "Pid": 1},
            "Args": ["a", "b"], "Nothing": null,
        });
        Template::parse(source, Purpose::Data).and_then(|t| t.render(&data)).unwrap_or_else(|e| e.report())
    }

    #[test]
    fn docker_s_functions_do_what_docker_s_do() {
        assert_eq!(render("{{upper .Image}} {{lower .Image}} {{title .Name}}"), "ALPINE alpine Web");
        assert_eq!(render("{{truncate .ID 3}}|{{pad .ID 2 1}}|{{pad \"\" 2 1}}|"), "783|  7834124a5fe0 ||");
        assert_eq!(render("{{join .Args \", \"}}"), "a, b");
        assert_eq!(render("{{index (split .ID \"4\") 1}}"), "12");
        assert_eq!(render("{{json .State}} {{json .Name}}"), r#"{"Pid":1,"Running":true} "web""#);
        assert_eq!(render("{{json .}}").matches("Nothing\":null").count(), 1);
        assert_eq!(render("{{range .Args}}{{println .}}{{end}}"), "a\nb\n");
        assert_eq!(render("{{if .State.Running}}up{{end}}"), "up");
    }

    #[test]
    fn a_field_that_is_not_there_is_a_failure() {
        for bad in ["{{.Foo}}", "{{.State.Foo}}", "{{.Foo.Bar}}", "{{.Name", "{{nope .Name}}", "{{.Name.X}}"]
        {
            assert!(render(bad).starts_with("engine: template parsing error"), "{bad}: {}", render(bad));
        }
    }

    #[test]
    fn label_is_a_method() {
        let labels = BTreeMap::from([("foo.bar-baz".to_owned(), "1".to_owned())]);
        let source = r#"{{.Label "foo.bar-baz"}}{{.Label "nope"}}{{.Labels}}"#;
        let data = json!({"Labels": "L", "Label": "x"});
        let row = |purpose| {
            Template::parse(source, purpose).and_then(|t| t.render_row(&data, &labels)).expect("renders")
        };
        assert_eq!(row(Purpose::Data), "1L");
        assert_eq!(row(Purpose::Headings), "bar bazNOPEL".replace("NOPE", "nope"));
    }

    proptest! {
        #[test]
        fn never_panics(source in "(\\{\\{)?[.A-Za-z \"0-9|()]{0,30}(\\}\\})?") {
            let _ = render(&source);
        }
    }
}
