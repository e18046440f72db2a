//! `--network` and `--attach`: names, and the long form of the first.

use engine_core::spec::NetworkMode;

use super::{Parsed, csv, reason};

/// `NAME`, `host`, `none`, or the long form `name=NAME`.
pub(crate) fn network(text: &str) -> Parsed<NetworkMode> {
    if !text.contains('=') {
        return text.parse().map_err(reason);
    }
    let mut name = None;
    for field in csv::fields(text)? {
        match field.split_once('=') {
            Some(("name", value)) => name = Some(value.to_owned()),
            Some((key, _)) => {
                return Err(format!("the option {key:?} of a network is not supported; only name= is"));
            }
            None => return Err(format!("{field:?} must have the form key=value")),
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or("the network's name is missing: name=NAME")?;
    name.parse().map_err(reason)
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `stdin`, `stdout` or `stderr`, in either case.
pub(crate) fn stream(text: &str) -> Parsed<Stream> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_long_form_names_the_same_network() {
        assert_eq!(network("host"), Ok(NetworkMode::Host));
        assert_eq!(network("name=none"), Ok(NetworkMode::None));
        assert_eq!(network("name=web").map(|mode| mode.to_string()), Ok("web".into()));
        for bad in ["alias=x", "name=web,ip=1.2.3.4", "name=", "-x", "container:y", "a=b,c"] {
            assert!(network(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn streams_are_named_in_either_case() {
        assert_eq!(stream("STDIN"), Ok(Stream::Stdin));
        assert_eq!(stream("stderr"), Ok(Stream::Stderr));
        assert!(stream("std").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(name=)?.{0,40}") {
            let _ = network(&text);
        }
    }
}
