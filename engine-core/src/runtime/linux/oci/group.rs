//! Which control group a container gets.

use oci_spec::runtime::Spec;

use super::OciId;
use crate::error::{Error, Result};

/// The group's path from the root of the hierarchies. One that is not given is the container's name; a relative one is
/// taken from the root as well, as runc does.
pub(super) fn path(spec: &Spec, id: &OciId, systemd: bool) -> Result<String> {
    let given = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let Some(given) = given.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(match systemd {
            true => format!("/system.slice/engine-{id}.scope"),
            false => format!("/{id}"),
        });
    };
    let given =
        given.to_str().ok_or_else(|| Error::invalid(format!("cgroupsPath {given:?}"), "it is not UTF-8"))?;
    if systemd {
        return scope(given);
    }
    let parts: Vec<&str> = given.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("/{}", parts.join("/")))
}

/// Where systemd has the unit `slice:prefix:name`: a slice lies in those that its name begins with.
fn scope(given: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(
            format!("cgroupsPath {given:?}"),
            "with systemd cgroups it has the form \"slice:prefix:name\"",
        )
    };
    let [slice, prefix, name] = given.split(':').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let stem = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    let sound = |part: &str| !part.contains('/') && part != "." && part != "..";
    if name.is_empty() || ![stem, prefix, name].into_iter().all(sound) {
        return Err(wrong());
    }
    let mut path = String::new();
    if stem != "-" {
        if stem.is_empty() || stem.starts_with('-') || stem.ends_with('-') || stem.contains("--") {
            return Err(wrong());
        }
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        ends.for_each(|end| path.extend(["/", &stem[..end], ".slice"]));
    }
    let unit = match (prefix, name.ends_with(".slice")) {
        (_, true) => name.to_owned(),
        ("", _) => format!("{name}.scope"),
        _ => format!("{prefix}-{name}.scope"),
    };
    Ok(format!("{path}/{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_in_those_its_name_begins_with() {
        for (given, path) in [
            ("machine.slice:libpod:abc", "/machine.slice/libpod-abc.scope"),
            (":docker:abc", "/system.slice/docker-abc.scope"),
            ("a-b-c.slice::x", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
            ("-.slice:p:x", "/p-x.scope"),
            ("user.slice:p:pod.slice", "/user.slice/pod.slice"),
        ] {
            assert_eq!(scope(given).expect(given), path);
        }
        for given in
            ["/a/b", "a:b", "a:b:c", "a.slice:b:", "a--b.slice:p:x", "../x.slice:p:x", "a.slice:p:../x"]
        {
            scope(given).expect_err(given);
        }
    }
}
