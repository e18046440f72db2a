//! Users and groups by name, from a container's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the image's and hostile: they are read up to [`MAX_FILE`] bytes, a malformed line is skipped, and a
//! number is a number only if it is plain decimal digits that fit 32 bits (anything else is a name, and names are
//! looked up, never wrapped into a number).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// No more is read of either file.
pub const MAX_FILE: usize = 4 << 20;
/// No more groups are taken from the file: the kernel's own limit (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory, if the files know one.
    pub home: Option<Vec<u8>>,
}

/// A user or group that the files do not know: `user nobody: no matching entries in passwd file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

fn number(text: &[u8]) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 10 && text.iter().all(u8::is_ascii_digit);
    if !plain {
        return None;
    }
    let value = text.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    // Docker's range: what some program takes for a negative number names nobody (CVE-2024-40635).
    i32::try_from(value).ok().map(i32::cast_unsigned)
}

/// The lines of a file in the format of passwd(5), as fields.
fn entries(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|b| *b == b'\n')
        .filter(|line| !line.is_empty() && line[0] != b'#')
        .map(|line| line.split(|b| *b == b':').collect())
}

struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    entries(passwd).filter_map(|fields| {
        let (name, uid, gid) = (*fields.first()?, number(fields.get(2)?)?, number(fields.get(3)?)?);
        Some(User { name, uid, gid, home: fields.get(5).copied().unwrap_or_default() })
    })
}

struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    entries(group).filter_map(|fields| {
        let (name, gid) = (*fields.first()?, number(fields.get(2)?)?);
        Some(Group { name, gid, members: fields.get(3).copied().unwrap_or_default() })
    })
}

fn unknown(noun: &str, name: &str, file: &str) -> Unknown {
    let mut text = String::new();
    for part in ["unable to find ", noun, " ", name, ": no matching entries in ", file, " file"] {
        text.push_str(part);
    }
    Unknown(text)
}

/// Finds out who `user[:group]` is, by Docker's rules: without a group, the user's primary and supplementary groups
/// are those of the files; with one, it is the only group. `additional` groups come on top.
///
/// # Errors
/// [`Unknown`] for a name that is in neither file. A number need not be.
pub fn resolve(user: &str, additional: &[String], passwd: &[u8], group: &[u8]) -> Result<Identity, Unknown> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let by_name = users(passwd).find(|entry| entry.name == user.as_bytes());
    let entry = match (by_name, number(user.as_bytes())) {
        (Some(entry), _) => Some(entry),
        (None, Some(uid)) => users(passwd).find(|entry| entry.uid == uid),
        (None, None) => return Err(unknown("user", user, "passwd")),
    };
    let uid = match (&entry, number(user.as_bytes())) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(unknown("user", user, "passwd")),
    };
    let mut identity = Identity {
        uid,
        gid: entry.as_ref().map_or(0, |entry| entry.gid),
        groups: Vec::new(),
        home: entry.as_ref().filter(|entry| !entry.home.is_empty()).map(|entry| entry.home.to_vec()),
    };
    let gid_of = |name: &str| {
        groups(group)
            .find(|entry| entry.name == name.as_bytes())
            .map(|entry| entry.gid)
            .or_else(|| number(name.as_bytes()))
            .ok_or_else(|| unknown("group", name, "group"))
    };
    match (wanted_group, &entry) {
        (Some(name), _) if !name.is_empty() => identity.gid = gid_of(name)?,
        (_, Some(entry)) => {
            let member = |members: &[u8]| members.split(|b| *b == b',').any(|member| member == entry.name);
            for found in groups(group).filter(|found| member(found.members)) {
                add(&mut identity.groups, found.gid);
            }
        }
        _ => {}
    }
    for name in additional {
        let gid = gid_of(name)?;
        add(&mut identity.groups, gid);
    }
    Ok(identity)
}

/// The home directory of the user with this number, if the file knows one.
pub fn home(uid: u32, passwd: &[u8]) -> Option<Vec<u8>> {
    let entry = users(passwd).find(|entry| entry.uid == uid)?;
    (!entry.home.is_empty()).then(|| entry.home.to_vec())
}

fn add(groups: &mut Vec<u32>, gid: u32) {
    if groups.len() < MAX_GROUPS && !groups.contains(&gid) {
        groups.push(gid);
    }
}

impl core::fmt::Display for Unknown {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Unknown> for Vec<u8> {
    fn from(unknown: Unknown) -> Vec<u8> {
        unknown.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nweb:x:33:33:www:/var/www:/bin/false\n\
        33x:x:7:8::/seven:\nneg:x:-1:0::/:\nbig:x:4294967296:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:33:\nadm:x:4:web,other\ndisk:x:6:web\n:::\n";

    fn resolve(user: &str) -> Result<Identity, Unknown> {
        super::resolve(user, &[], PASSWD, GROUP)
    }

    #[test]
    fn a_user_without_a_group_has_those_of_the_files() {
        let web = resolve("web").expect("known");
        assert_eq!((web.uid, web.gid, web.groups.as_slice()), (33, 33, &[4, 6][..]));
        assert_eq!(web.home.as_deref(), Some(&b"/var/www"[..]));
        assert_eq!(resolve("33").expect("known").groups, [4, 6]);
    }

    #[test]
    fn a_user_with_a_group_has_that_one_only() {
        let web = resolve("web:adm").expect("known");
        assert_eq!((web.gid, web.groups.len()), (4, 0));
        assert_eq!(resolve("1000:50").expect("numbers need no entry").gid, 50);
    }

    #[test]
    fn nobody_given_is_root() {
        let root = resolve("").expect("known");
        assert_eq!((root.uid, root.gid, root.home.as_deref()), (0, 0, Some(&b"/root"[..])));
        let empty = super::resolve("", &[], b"", b"").expect("root needs no files");
        assert_eq!((empty.uid, empty.gid, empty.home), (0, 0, None));
    }

    #[test]
    fn a_name_that_looks_like_a_number_is_a_name() {
        assert_eq!(resolve("33x").expect("known").uid, 7);
    }

    #[test]
    fn numbers_never_wrap_to_root() {
        for bad in [
            "4294967296",
            "4294967295",
            "-1",
            "0x0",
            " 0",
            "1e3",
            "+0",
            "99999999999999999999",
            "neg",
            "big",
            "2147483648",
        ] {
            assert!(resolve(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(resolve("2147483647").expect("fits").uid, 2_147_483_647);
    }

    #[test]
    fn additional_groups_come_on_top_and_unknown_ones_are_refused() {
        let more = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            super::resolve("web", &names, PASSWD, GROUP)
        };
        assert_eq!(more(&["disk", "99"]).expect("known").groups, [4, 6, 99]);
        let unknown = more(&["nope"]).expect_err("unknown");
        assert_eq!(unknown.to_string(), "unable to find group nope: no matching entries in group file");
    }

    #[test]
    fn rubbish_is_skipped_without_a_panic() {
        for file in [&b"\xff\xfe"[..], b":::::::", b"\n\n\n", b"a:b:c:d:e:f:g:h:i"] {
            let _ = super::resolve("x", &[], file, file);
        }
    }
}
