//! The program to run: found, checked, and become.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::failure::{Result, Step, failure};
use crate::plan::Process;
use crate::users::Identity;
use crate::wire::{Cause, Failure};

/// A program with all it takes to become it.
pub(crate) struct Command {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    name: String,
}

/// Where a program is looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Command {
    /// Finds the program as execvp(3) does, within the root and as the user this process now is.
    pub(crate) fn find(process: &Process, identity: &Identity) -> Result<Command> {
        let name = process
            .args
            .first()
            .ok_or_else(|| failure(Cause::CommandNotFound, Errno::NOENT, "exec: no command was given", ""))?;
        let mut env = process.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            let home =
                identity.home.as_deref().and_then(|home| core::str::from_utf8(home).ok()).unwrap_or("/");
            env.push(["HOME=", home].concat());
        }
        Ok(Command {
            path: c_string(locate(name, &process.env)?)?,
            args: process.args.iter().cloned().map(c_string).collect::<Result<_>>()?,
            env: env.into_iter().map(c_string).collect::<Result<_>>()?,
            name: name.clone(),
        })
    }

    /// Becomes the program. Returns only to say why not.
    pub(crate) fn exec(&self) -> Failure {
        let errno = crate::sys::execve(&self.path, &self.args, &self.env);
        match errno {
            Errno::NOENT => quoted(Cause::CommandNotFound, errno, &self.name, "no such file or directory"),
            Errno::ACCESS | Errno::ISDIR => {
                quoted(Cause::CommandNotExecutable, errno, &self.name, "permission denied")
            }
            Errno::NOEXEC => quoted(Cause::CommandNotExecutable, errno, &self.name, "exec format error"),
            _ => quoted(Cause::CommandNotExecutable, errno, &self.name, "cannot be executed"),
        }
    }
}

/// In the words that docker's users and tools know: `exec: "foo": executable file not found in $PATH`.
fn quoted(cause: Cause, errno: Errno, name: &str, reason: &str) -> Failure {
    failure(cause, errno, ["exec: \"", name, "\": ", reason].concat().as_str(), "")
}

fn c_string(text: String) -> Result<CString> {
    CString::new(text)
        .map_err(|_| failure(Cause::Plan, Errno::INVAL, "an argument or variable holds a zero byte", ""))
}

fn locate(name: &str, env: &[String]) -> Result<String> {
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => Ok(name.into()),
            Err(Errno::ACCESS) => {
                Err(quoted(Cause::CommandNotExecutable, Errno::ACCESS, name, "permission denied"))
            }
            Err(Errno::ISDIR) => {
                Err(quoted(Cause::CommandNotExecutable, Errno::ISDIR, name, "is a directory"))
            }
            Err(errno) => Err(quoted(Cause::CommandNotFound, errno, name, "no such file or directory")),
        };
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = [directory, "/", name].concat();
        match executable(&candidate) {
            Ok(()) if !name.is_empty() => return Ok(candidate),
            Err(Errno::ACCESS) => denied = true,
            _ => {}
        }
    }
    if denied {
        return Err(quoted(Cause::CommandNotExecutable, Errno::ACCESS, name, "permission denied"));
    }
    Err(quoted(Cause::CommandNotFound, Errno::NOENT, name, "executable file not found in $PATH"))
}

fn executable(path: &str) -> rustix::io::Result<()> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // What has no name in any file system is none of the container's: this program itself, reached through
    // `/proc/self/exe`.
    if stat.st_nlink == 0 {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Enters the working directory, and makes sure that it lies within the root: a path like `/proc/self/fd/7` might
/// lead to a directory of the host (CVE-2024-21626).
pub(crate) fn enter_directory(path: &str) -> Result<()> {
    rustix::process::chdir(path).step("enter working directory", path)?;
    let here = rustix::process::getcwd(Vec::new()).step("find the path of working directory", path)?;
    if !here.to_bytes().starts_with(b"/") {
        return Err(failure(
            Cause::Escape,
            Errno::PERM,
            "the working directory is outside of the container:",
            path,
        ));
    }
    Ok(())
}
