//! `key=value,key=value`, as `--mount` and the long form of `--network` have it.

use super::Parsed;

/// The fields of one record of comma-separated values (RFC 4180): a field in double quotes may hold commas, and two
/// double quotes for one.
pub(crate) fn fields(text: &str) -> Parsed<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err("a double quote stands in a field that does not begin with one".to_owned());
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("something follows a field in double quotes".to_owned()),
        }
    }
}

/// The field after its opening quote, and what follows its closing one.
fn quoted_field(text: &str) -> Parsed<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or("a double quote is not closed")?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_protect_commas() {
        assert_eq!(fields("a=1,b"), Ok(vec!["a=1".into(), "b".into()]));
        assert_eq!(fields(r#""src=/a,b",c"#), Ok(vec!["src=/a,b".into(), "c".into()]));
        assert_eq!(fields(r#""x""y""#), Ok(vec![r#"x"y"#.into()]));
        assert_eq!(fields(""), Ok(vec![String::new()]));
        for bad in [r#"""#, r#""a"b"#, r#"a"b"#] {
            assert!(fields(bad).is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = fields(&text);
        }
    }
}
