//! `--flag=value` of flags that are on or off, by Go's rules.

use super::Parsed;

/// `1`, `t`, `T`, `true`, `True`, `TRUE`, and the same for false.
pub(crate) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_spellings_are_understood() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("False"), Ok(false));
        assert!(boolean("yes").is_err());
        assert!(boolean("tRUE").is_err());
    }
}
