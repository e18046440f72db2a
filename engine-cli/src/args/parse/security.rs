//! `--security-opt`.

use super::Parsed;
use super::boolean::boolean;

/// One security option, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// Docker's own profile for system calls.
    SeccompDefault,
    /// All system calls.
    SeccompUnconfined,
    /// The profile in this file.
    SeccompFile(String),
    /// Whether set-user-ID programs gain nothing.
    NoNewPrivileges(bool),
    /// Nothing of `/proc` and `/sys` is masked.
    UnmaskSystemPaths,
    /// Whether its control groups are writable inside.
    WritableCgroups(bool),
    /// A profile of AppArmor.
    AppArmor(String),
    /// A label of SELinux.
    Label(String),
}

/// `name=value`, or as it was once written, `name:value`.
pub(crate) fn security_option(text: &str) -> Parsed<SecurityOption> {
    let (name, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match (name, value) {
        ("no-new-privileges", None) => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", Some(value)) => boolean(value).map(SecurityOption::NoNewPrivileges),
        ("seccomp", Some("unconfined")) => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", Some("builtin")) => Ok(SecurityOption::SeccompDefault),
        ("seccomp", Some(file)) if !file.is_empty() => Ok(SecurityOption::SeccompFile(file.to_owned())),
        ("systempaths", Some("unconfined")) => Ok(SecurityOption::UnmaskSystemPaths),
        ("writable-cgroups", None) => Ok(SecurityOption::WritableCgroups(true)),
        ("writable-cgroups", Some(value)) => boolean(value).map(SecurityOption::WritableCgroups),
        ("apparmor", Some(profile)) if !profile.is_empty() => {
            Ok(SecurityOption::AppArmor(profile.to_owned()))
        }
        ("label", Some(label)) if !label.is_empty() => Ok(SecurityOption::Label(label.to_owned())),
        _ => Err(format!(
            "invalid --security-opt: {text:?}; use seccomp=FILE|unconfined|builtin, no-new-privileges[=true|false], \
             systempaths=unconfined, writable-cgroups[=true|false], apparmor=PROFILE or label=OPTION"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_docker_has_is_understood_or_refused_by_name() {
        assert_eq!(security_option("seccomp=unconfined"), Ok(SecurityOption::SeccompUnconfined));
        assert_eq!(security_option("seccomp:unconfined"), Ok(SecurityOption::SeccompUnconfined));
        assert_eq!(security_option("seccomp=/a=b.json"), Ok(SecurityOption::SeccompFile("/a=b.json".into())));
        assert_eq!(security_option("no-new-privileges"), Ok(SecurityOption::NoNewPrivileges(true)));
        assert_eq!(security_option("no-new-privileges:false"), Ok(SecurityOption::NoNewPrivileges(false)));
        assert_eq!(security_option("label=disable"), Ok(SecurityOption::Label("disable".into())));
        assert_eq!(security_option("apparmor:x"), Ok(SecurityOption::AppArmor("x".into())));
        assert_eq!(security_option("writable-cgroups"), Ok(SecurityOption::WritableCgroups(true)));
        for bad in
            ["", "seccomp", "seccomp=", "label", "apparmor=", "credentialspec=file://x", "writable-cgroups=x"]
        {
            assert!(security_option(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = security_option(&text);
        }
    }
}
