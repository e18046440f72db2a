//! JSON as docker prints it.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::exit::Failure;

/// On one line.
///
/// # Errors
/// A value that JSON cannot hold.
pub(crate) fn line(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new(format!("writing JSON: {e}")))
}

/// Indented by four, as `inspect` prints it, with a newline at the end.
///
/// # Errors
/// A value that JSON cannot hold.
pub(crate) fn indented(value: &impl Serialize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(|e| Failure::new(format!("writing JSON: {e}")))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|e| Failure::new(format!("writing JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inspect_s_indent_is_four() {
        let value = json!([{"Id": "x", "Labels": {}, "Args": []}]);
        let text = indented(&value).expect("serialises");
        assert_eq!(
            text,
            "[\n    {\n        \"Args\": [],\n        \"Id\": \"x\",\n        \"Labels\": {}\n    }\n]\n"
        );
        assert_eq!(line(&json!({"a": "<b>"})).expect("serialises"), r#"{"a":"<b>"}"#);
    }
}
