//! Instructions of a Dockerfile that change a configuration and need no build: what `--change` takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::spec::{Signal, parse_duration};

/// The longest instruction.
const MAX: usize = 64 << 10;

/// Applies one instruction to the run part of a configuration (`config` in the OCI image configuration).
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an instruction that is malformed or would need a
/// build.
pub(crate) fn apply(config: &mut Map<String, Value>, instruction: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("change {instruction:?}"), reason));
    if instruction.len() > MAX {
        return Err(Error::invalid("change", format!("an instruction has at most {MAX} bytes")));
    }
    let line = instruction.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return bad("the instruction has no argument");
    }
    match name.to_ascii_uppercase().as_str() {
        "CMD" => set(config, "Cmd", json!(command(rest))),
        "ENTRYPOINT" => {
            set(config, "Entrypoint", json!(command(rest)));
            // As in a build: an entry point of its own has no use for the arguments of another one.
            config.remove("Cmd");
        }
        "ENV" => match pairs(rest) {
            Some(pairs) => pairs.into_iter().for_each(|(key, value)| set_env(config, &key, &value)),
            None => return bad("must have the form KEY=value"),
        },
        "LABEL" => match pairs(rest) {
            Some(pairs) => {
                pairs.into_iter().for_each(|(key, value)| insert(config, "Labels", key, json!(value)))
            }
            None => return bad("must have the form key=value"),
        },
        "EXPOSE" => {
            for word in rest.split_whitespace() {
                match ports(word) {
                    Some(ports) => {
                        ports.into_iter().for_each(|port| insert(config, "ExposedPorts", port, json!({})));
                    }
                    None => return bad("a port has the form 80, 80/udp or 8000-8010"),
                }
            }
        }
        "VOLUME" => {
            let paths =
                exec_form(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            if paths.iter().any(|path| path.trim().is_empty()) {
                return bad("a volume must have a path");
            }
            paths.into_iter().for_each(|path| insert(config, "Volumes", path, json!({})));
        }
        "WORKDIR" => {
            let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/").to_owned();
            set(config, "WorkingDir", json!(join(&before, unquoted(rest))));
        }
        "USER" => set(config, "User", json!(unquoted(rest))),
        "STOPSIGNAL" => {
            rest.parse::<Signal>()?;
            set(config, "StopSignal", json!(rest));
        }
        "ONBUILD" => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if matches!(trigger.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return bad("such an instruction cannot be put off to a later build");
            }
            match config.entry("OnBuild").or_insert_with(|| json!([])) {
                Value::Array(triggers) => triggers.push(json!(rest)),
                other => *other = json!([rest]),
            }
        }
        "HEALTHCHECK" => match health(rest) {
            Some(check) => set(config, "Healthcheck", check),
            None => return bad("must have the form NONE or [--interval=30s …] CMD command"),
        },
        _ => {
            return Err(Error::invalid(
                format!("change {instruction:?}"),
                format!("{name} cannot be used here"),
            )
            .with_remedy(
                "use one of: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, \
                     VOLUME, WORKDIR",
            ));
        }
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// Into a set or table of the configuration, which may be `null`.
fn insert(config: &mut Map<String, Value>, table: &str, key: String, value: Value) {
    match config.entry(table).or_insert_with(|| json!({})) {
        Value::Object(entries) => {
            entries.insert(key, value);
        }
        other => {
            let mut entries = Map::new();
            entries.insert(key, value);
            *other = Value::Object(entries);
        }
    }
}

fn set_env(config: &mut Map<String, Value>, key: &str, value: &str) {
    let entry = json!(format!("{key}={value}"));
    match config.entry("Env").or_insert_with(|| json!([])) {
        Value::Array(env) => {
            let same = |old: &&mut Value| {
                old.as_str().and_then(|old| old.split_once('=')).is_some_and(|(k, _)| k == key)
            };
            match env.iter_mut().find(same) {
                Some(old) => *old = entry,
                None => env.push(entry),
            }
        }
        other => *other = json!([entry]),
    }
}

/// `["a", "b"]`, or nothing if it is anything else.
fn exec_form(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// A command in exec form, or in shell form.
fn command(text: &str) -> Vec<String> {
    exec_form(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).into())
}

/// `key=value key2="another value"`, or the old form `key value`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let words = words(text)?;
    if !words.first()?.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(unquoted(key).to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    words.into_iter().map(pair).collect()
}

/// Splits at blanks as a shell does: quotes and backslashes keep them, and go. `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                let next = chars.next().unwrap_or('\\');
                let word = word.get_or_insert_default();
                // Within double quotes a backslash means itself unless it stands before one of these.
                if quote.is_some() && !matches!(next, '"' | '\\' | '$') {
                    word.push('\\');
                }
                word.push(next);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// `80`, `80/udp` or `8000-8010/tcp`, each with its protocol.
fn ports(text: &str) -> Option<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The working directory after a change to `to`, as text: what the names lead to is seen in the container.
fn join(from: &str, to: &str) -> String {
    let whole = if to.starts_with('/') { to.to_owned() } else { format!("{from}/{to}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A health check, in docker's form; lengths of time are in nanoseconds.
fn health(text: &str) -> Option<Value> {
    let mut check = Map::new();
    let mut rest = text;
    let mut seen = BTreeSet::new();
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace)?;
        let (name, value) = option.split_once('=')?;
        let key = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => "Retries",
            _ => return None,
        };
        let value = match key {
            "Retries" => json!(value.parse::<u32>().ok()?),
            _ => json!(u64::try_from(parse_duration(value).ok()?.as_nanos()).ok()?),
        };
        if !seen.insert(key) {
            return None;
        }
        check.insert(key.to_owned(), value);
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") if seen.is_empty() => json!(["NONE"]),
        ("CMD", command) if !command.is_empty() => match exec_form(command) {
            Some(words) => json!(std::iter::once("CMD".to_owned()).chain(words).collect::<Vec<_>>()),
            None => json!(["CMD-SHELL", command]),
        },
        _ => return None,
    };
    check.insert("Test".to_owned(), test);
    Some(Value::Object(check))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(instructions: &[&str]) -> Value {
        let mut config = Map::new();
        for instruction in instructions {
            apply(&mut config, instruction).unwrap_or_else(|e| panic!("{instruction}: {e}"));
        }
        Value::Object(config)
    }

    #[test]
    fn instructions_change_the_configuration_as_a_build_would() {
        for (instructions, wanted) in [
            (&["CMD [\"sh\", \"-l\"]"][..], json!({"Cmd": ["sh", "-l"]})),
            (&["cmd echo $HOME"], json!({"Cmd": ["/bin/sh", "-c", "echo $HOME"]})),
            (&["CMD a", "ENTRYPOINT [\"b\"]"], json!({"Entrypoint": ["b"]})),
            (
                &["ENV A=1 B=\"two words\" C=a\\ b", "ENV A 3 4"],
                json!({"Env": ["A=3 4", "B=two words", "C=a b"]}),
            ),
            (&["LABEL a.b=\"c d\" e=''"], json!({"Labels": {"a.b": "c d", "e": ""}})),
            (
                &["EXPOSE 80 53/UDP 8000-8001"],
                json!({"ExposedPorts":
                {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
            ),
            (&["VOLUME /a /b", "VOLUME [\"/c d\"]"], json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}})),
            (&["WORKDIR /a/b", "WORKDIR ../c/./d"], json!({"WorkingDir": "/a/c/d"})),
            (&["WORKDIR ../.."], json!({"WorkingDir": "/"})),
            (&["USER 1000:1000"], json!({"User": "1000:1000"})),
            (&["STOPSIGNAL SIGQUIT"], json!({"StopSignal": "SIGQUIT"})),
            (&["ONBUILD RUN make", "ONBUILD COPY . ."], json!({"OnBuild": ["RUN make", "COPY . ."]})),
            (&["HEALTHCHECK NONE"], json!({"Healthcheck": {"Test": ["NONE"]}})),
            (
                &["HEALTHCHECK --interval=5s --retries=2 CMD curl -f x"],
                json!({"Healthcheck":
                {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 5_000_000_000u64, "Retries": 2}}),
            ),
        ] {
            assert_eq!(changed(instructions), wanted, "{instructions:?}");
        }
    }

    #[test]
    fn what_needs_a_build_or_is_malformed_is_refused() {
        for bad in [
            "",
            "CMD",
            "RUN make",
            "FROM x",
            "ENV",
            "ENV A",
            "ENV A=\"1",
            "ENV =1",
            "EXPOSE x",
            "EXPOSE 2-1",
            "EXPOSE 70000",
            "EXPOSE 1/icmp",
            "STOPSIGNAL NOPE",
            "ONBUILD FROM x",
            "HEALTHCHECK curl",
            "HEALTHCHECK --interval=x CMD a",
            "HEALTHCHECK CMD",
            "VOLUME [\"\"]",
            "LABEL a b=c d=",
        ] {
            let mut config = Map::new();
            let result = apply(&mut config, bad);
            assert!(result.is_err() || bad.starts_with("LABEL"), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_table_that_is_null_becomes_one() {
        let mut config = Map::new();
        for key in ["Labels", "Env", "OnBuild", "Volumes"] {
            config.insert(key.to_owned(), Value::Null);
        }
        for change in ["LABEL a=b", "ENV A=b", "ONBUILD RUN x", "VOLUME /a"] {
            apply(&mut config, change).expect("well formed");
        }
        assert!(config.values().all(|value| !value.is_null()));
    }

    proptest! {
        #[test]
        fn applying_never_panics(name in "(CMD|ENV|LABEL|EXPOSE|VOLUME|WORKDIR|HEALTHCHECK|ONBUILD) ", rest in ".{0,60}") {
            let _ = apply(&mut Map::new(), &(name + &rest));
        }

        #[test]
        fn a_quoted_word_is_one_word(text in "[a-z '$=]{1,20}") {
            prop_assert_eq!(words(&format!("\"{text}\"")), Some(vec![text]));
        }
    }
}
