//! Why a runtime program failed, from its log, which has a JSON object in each line.

use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// A line of the log. The programs do not agree on everything.
#[derive(Deserialize)]
struct Line {
    level: String,
    #[serde(alias = "message")]
    msg: String,
}

/// The failure of the container `name` whose program ended with `code`. `told` is the program's path, the command it was
/// given, and the end of its log.
pub(in crate::runtime::linux) fn explain(name: &str, code: i32, told: &str) -> Error {
    let (call, log) = told.find('{').map_or((told, ""), |at| told.split_at(at));
    let call = call.rsplit('/').next().unwrap_or_default().trim();
    let error = |line: &Line| matches!(line.level.to_ascii_lowercase().as_str(), "error" | "fatal" | "panic");
    // The first line may be cut.
    let parsed = serde_json::Deserializer::from_str(log).into_iter::<Line>();
    let of_whole = parsed.map_while(Result::ok).filter(error).last();
    let last =
        || log.rsplit(['\n', '\r']).find_map(|line| serde_json::from_str::<Line>(line).ok()).filter(error);
    let Some(line) = of_whole.or_else(last) else {
        let reason = format!("{call} ended with code {code} and did not say why");
        return Error::new(ErrorKind::Unavailable, name).because(reason);
    };
    let message = line.msg.trim();
    let reason = match message.starts_with(call) {
        true => message.to_owned(),
        false => format!("{call}: {message}"),
    };
    Error::new(kind(message), name).because(reason)
}

/// What kind of failure a message tells of, as docker finds it out.
fn kind(message: &str) -> ErrorKind {
    let message = message.to_ascii_lowercase();
    let has = |words: &str| message.contains(words);
    let of_command = has("exec: ") || has("executable");
    if of_command && (has("not found") || has("no such file or directory")) {
        return ErrorKind::CommandNotFound;
    }
    if of_command && (has("permission denied") || has("exec format error") || has("is a directory")) {
        return ErrorKind::CommandNotExecutable;
    }
    ErrorKind::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str) -> (ErrorKind, String) {
        let error = explain("box", 1, log);
        (error.kind(), error.to_string())
    }

    #[test]
    fn the_last_error_is_the_reason() {
        let (kind, words) = told(
            r#"/usr/sbin/runc create
{"level":"warning","msg":"beware","time":"x"}
{"level":"error","msg":"runc create failed: exec: \"nope\": executable file not found in $PATH","time":"x"}
{"level":"warning","msg":"lame duck","time":"x"}
"#,
        );
        assert_eq!(kind, ErrorKind::CommandNotFound);
        assert!(words.contains("box: runc create failed: exec: \"nope\": executable"), "{words}");
        let (kind, words) = told(
            r#"/usr/bin/crun create { "msg": "open executable: Permission denied", "level": "error", "time": "x" } "#,
        );
        assert_eq!(kind, ErrorKind::CommandNotExecutable);
        assert!(words.contains("crun create: open executable: Permission denied"), "{words}");
        // A mount's source is no command.
        let mount = r#"/runc create {"level":"error","msg":"mount /x: no such file or directory"}"#;
        assert_eq!(told(mount).0, ErrorKind::Unavailable);
    }

    #[test]
    fn a_log_that_begins_in_the_middle_of_a_line_is_understood() {
        let (_, words) = told("/runc start\n\"x\":{\"y\":1}}\n{\"level\":\"error\",\"msg\":\"no\"}\n");
        assert!(words.contains("runc start: no") || words.contains("did not say why"), "{words}");
    }

    #[test]
    fn a_program_that_says_nothing_is_told_of() {
        for log in
            ["", "rubbish", "{\"level\":\"error\",\"msg\":\"cut", "{\"level\":\"info\",\"msg\":\"fine\"}"]
        {
            let (kind, words) = told(&format!("/usr/sbin/runc create\n{log}"));
            assert_eq!(kind, ErrorKind::Unavailable);
            assert!(words.contains("ended with code 1 and did not say why"), "{words}");
        }
    }
}
