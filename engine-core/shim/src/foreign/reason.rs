//! Why a call of the program failed, from its log: the last error, by docker's rules.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::io::Errno;

use crate::failure::failure;
use crate::text::Text;
use crate::wire::{Cause, Failure};

/// The failure of the call `name`, which ended with `code` and wrote `log`. The container runs `command`.
pub(super) fn explain(name: &str, code: i32, log: &[u8], command: &str) -> Failure {
    let Some(message) = log.split(|byte| *byte == b'\n').rev().find_map(message) else {
        let mut text = Text::default();
        text.push(name).push(" ended with code ").number(code.into()).push(" and did not say why");
        return failure(Cause::Hook, Errno::CHILD, text.as_str(), "");
    };
    let lower = message.to_ascii_lowercase();
    let has = |words: &str| lower.contains(words);
    let of_command = !command.is_empty() && message.contains(command);
    let cause = if of_command && (has("executable file not found") || has("no such file or directory")) {
        Cause::CommandNotFound
    } else if of_command && (has("permission denied") || has("exec format error") || has("is a directory")) {
        Cause::CommandNotExecutable
    } else {
        Cause::Hook
    };
    failure(cause, Errno::CHILD, [name, ": ", &message].concat().as_str(), "")
}

/// The text of an error in a line of the log; nothing in one that is none.
fn message(line: &[u8]) -> Option<String> {
    let line = core::str::from_utf8(line).ok()?;
    let level = member(line, "level")?;
    if !matches!(level.as_str(), "error" | "fatal" | "panic" | "ERROR") {
        return None;
    }
    member(line, "msg").or_else(|| member(line, "message")).map(|text| String::from(text.trim()))
}

/// The string that a flat JSON object has as its member `name`.
fn member(line: &str, name: &str) -> Option<String> {
    let key = ["\"", name, "\":"].concat();
    let (_, rest) = line.split_once(key.as_str())?;
    let rest = rest.trim_start().strip_prefix('"')?;
    let mut text = Vec::new();
    let mut bytes = rest.bytes();
    loop {
        match bytes.next()? {
            b'"' => return String::from_utf8(text).ok(),
            b'\\' => match bytes.next()? {
                b'n' | b'r' | b't' => text.push(b' '),
                b'u' => {
                    let digits: Vec<u8> = bytes.by_ref().take(4).collect();
                    let code = u32::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?;
                    let mut buffer = [0; 4];
                    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str, command: &str) -> (Cause, String) {
        let failure = explain("runc create", 1, log.as_bytes(), command);
        (failure.cause, String::from_utf8(failure.step).expect("text"))
    }

    #[test]
    fn the_last_error_is_the_reason() {
        let log = r#"{"level":"warning","msg":"beware","time":"x"}
{"level":"error","msg":"runc create failed: exec: \"nope\": executable file not found in $PATH","time":"x"}
{"level":"warning","msg":"lame \u003c duck","time":"x"}
"#;
        let words = "runc create: runc create failed: exec: \"nope\": executable file not found in $PATH";
        assert_eq!(told(log, "nope"), (Cause::CommandNotFound, words.into()));
        // Something else was not found.
        assert_eq!(told(log, "sh").0, Cause::Hook);
        let crun = r#"{ "msg": "open executable: Permission denied: /x", "level": "error", "time": "x" }"#;
        assert_eq!(
            told(crun, "/x"),
            (Cause::CommandNotExecutable, "runc create: open executable: Permission denied: /x".into())
        );
    }

    #[test]
    fn a_program_that_says_nothing_is_told_of() {
        let words = "runc create ended with code 1 and did not say why";
        for log in ["", "rubbish", "{\"level\":\"error\",\"msg\":\"cut", "{\"level\":\"info\",\"msg\":\"fine\"}"] {
            assert_eq!(told(log, "sh"), (Cause::Hook, words.into()));
        }
    }
}
