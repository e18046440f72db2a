//! The program: its arguments, environment, working directory and limits, from the wish and the image together.

use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{
    Box as ConsoleSize, BoxBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, User,
};

use super::{SpecInput, built, capabilities};
use crate::error::{Error, Result};
use crate::image::config::RunConfig;
use crate::spec::{ContainerSpec, ExecSpec, Rlimit, TerminalSize};

/// Where programs are looked for unless the image says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kernel takes no longer argument or variable (`MAX_ARG_STRLEN`), nor is there room for more than some thousand.
const LIMIT: usize = 4 << 20;

/// The container's program.
pub(super) fn process(input: &SpecInput<'_>, capabilities: &capabilities::Set) -> Result<Process> {
    let container = input.container;
    let image = input.image.map(|image| &image.config);
    let adjustment = container.oom_score_adj.unwrap_or(0);
    if !(-1000..=1000).contains(&adjustment) {
        return Err(Error::invalid(format!("OOM score adjustment {adjustment}"), "it is from -1000 to 1000"));
    }
    let mut process = Process::default();
    process
        .set_terminal(Some(container.terminal))
        .set_console_size(container.terminal_size.map(console_size).transpose()?)
        // Names are looked up by the runtime, which sees the container's files.
        .set_user(User::default())
        .set_args(Some(args(container, image)?))
        .set_env(Some(env(input)?))
        .set_cwd(cwd(container, image)?)
        .set_capabilities(Some(capabilities.to_oci()))
        .set_rlimits(Some(rlimits(&container.resources.rlimits)?))
        .set_no_new_privileges(Some(container.security.no_new_privileges))
        .set_oom_score_adj(Some(adjustment));
    Ok(process)
}

/// Another program for the container.
pub(super) fn exec(
    input: &SpecInput<'_>,
    exec: &ExecSpec,
    capabilities: &capabilities::Set,
) -> Result<Process> {
    let capabilities = if exec.privileged { capabilities::Set::available(input.host) } else { *capabilities };
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("the command", "no command was given"));
    }
    check_text("the command", &exec.command)?;
    let mut env = Environment::of(input)?;
    // The container's own program may have no terminal, or have been told that it has none.
    if exec.terminal && !env.has("TERM") {
        env.set("TERM", "TERM=xterm");
    }
    env.change(&exec.env)?;
    let cwd = match exec.working_dir.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => absolute(path)?,
        None => cwd(input.container, input.image.map(|image| &image.config))?,
    };
    let mut process = process(input, &capabilities)?;
    process
        .set_terminal(Some(exec.terminal))
        .set_console_size(exec.terminal_size.map(console_size).transpose()?)
        .set_args(Some(exec.command.clone()))
        .set_env(Some(env.finish()?))
        .set_cwd(cwd);
    Ok(process)
}

fn console_size(size: TerminalSize) -> Result<ConsoleSize> {
    built(BoxBuilder::default().height(size.rows).width(size.columns).build())
}

/// Docker's rules: another entry point does without the image's command, which belongs to the image's own.
pub(super) fn args(container: &ContainerSpec, image: Option<&RunConfig>) -> Result<Vec<String>> {
    let of_image = |list: fn(&RunConfig) -> &Vec<String>| image.map(list).cloned().unwrap_or_default();
    let own_entrypoint = container.entrypoint.as_ref().is_some_and(|words| !words.is_empty());
    let mut args = match &container.entrypoint {
        // `--entrypoint ""`
        Some(words) if matches!(words.as_slice(), [word] if word.is_empty()) => Vec::new(),
        Some(words) => words.clone(),
        None => of_image(|image| &image.entrypoint),
    };
    if !container.command.is_empty() {
        args.extend(container.command.iter().cloned());
    } else if !own_entrypoint {
        args.extend(of_image(|image| &image.cmd));
    }
    if args.is_empty() {
        return Err(Error::invalid("the command", "no command specified")
            .with_remedy("give a command, or use an image that has one"));
    }
    check_text("the command", &args)?;
    Ok(args)
}

fn env(input: &SpecInput<'_>) -> Result<Vec<String>> {
    Environment::of(input)?.finish()
}

/// Variables in order, each once.
struct Environment(Vec<String>);

impl Environment {
    /// The container's: Docker's own variables, then those of the wish, then those of the image that the wish says
    /// nothing about.
    fn of(input: &SpecInput<'_>) -> Result<Environment> {
        let container = input.container;
        let mut env = Environment(vec![format!("PATH={PATH}"), format!("HOSTNAME={}", input.hostname)]);
        if container.terminal {
            env.0.push("TERM=xterm".into());
        }
        env.change(&container.env)?;
        for variable in input.image.map(|image| image.config.env.as_slice()).unwrap_or_default() {
            let key = key(variable);
            // An image cannot take a variable away; what has no value there is nothing.
            if variable.contains('=') && !container.env.iter().any(|own| self::key(own) == key) {
                env.set(key, variable);
            }
        }
        Ok(env)
    }

    /// Sets and takes away what a user says.
    fn change(&mut self, variables: &[String]) -> Result<()> {
        for variable in variables {
            let key = key(variable);
            if key.is_empty() {
                return Err(Error::invalid(format!("variable {variable:?}"), "it has no name"));
            }
            match variable.contains('=') {
                true => self.set(key, variable),
                false => self.0.retain(|known| self::key(known) != key),
            }
        }
        Ok(())
    }

    fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|known| key(known) == wanted)
    }

    fn set(&mut self, wanted: &str, variable: &str) {
        match self.0.iter_mut().find(|known| key(known) == wanted) {
            Some(known) => *known = variable.to_owned(),
            None => self.0.push(variable.to_owned()),
        }
    }

    fn finish(self) -> Result<Vec<String>> {
        check_text("the environment", &self.0)?;
        Ok(self.0)
    }
}

fn key(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(key, _)| key)
}

/// What the kernel cannot take is refused here, where it has a name.
fn check_text(subject: &str, texts: &[String]) -> Result<()> {
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(Error::invalid(subject, "a part of it holds a zero byte"));
    }
    if texts.iter().map(|text| text.len() + 1).sum::<usize>() > LIMIT {
        return Err(Error::invalid(subject, format!("it is longer than {LIMIT} bytes")));
    }
    Ok(())
}

fn cwd(container: &ContainerSpec, image: Option<&RunConfig>) -> Result<PathBuf> {
    if let Some(path) = container.working_dir.as_deref().filter(|path| !path.is_empty()) {
        return absolute(path);
    }
    // Some tools write a relative path; it is meant from the root.
    let path = image.map(|image| image.working_dir.as_str()).unwrap_or_default();
    absolute(&format!("/{path}"))
}

/// An absolute path without detours.
fn absolute(path: &str) -> Result<PathBuf> {
    let wrong = |reason: &str| Error::invalid(format!("working directory {path:?}"), reason);
    if !path.starts_with('/') {
        return Err(wrong("it needs to be an absolute path"));
    }
    if path.contains('\0') {
        return Err(wrong("it holds a zero byte"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")).into())
}

fn rlimits(limits: &[Rlimit]) -> Result<Vec<PosixRlimit>> {
    let mut seen: Vec<PosixRlimit> = Vec::with_capacity(limits.len());
    for limit in limits {
        let wrong = |reason: String| Error::invalid(format!("ulimit {:?}", limit.name), reason);
        let known = PosixRlimitType::from_str(&format!("RLIMIT_{}", limit.name.to_ascii_uppercase()));
        let kind = known.map_err(|_| {
            wrong("there is no such limit".into())
                .with_remedy("use a name of getrlimit(2) like nofile or core")
        })?;
        if limit.soft > limit.hard {
            let (soft, hard) = (limit.soft, limit.hard);
            return Err(wrong(format!("the soft limit must be at most the hard limit: {soft} > {hard}")));
        }
        if seen.iter().any(|other| other.typ() == kind) {
            return Err(wrong("it is given twice".into()));
        }
        let builder = PosixRlimitBuilder::default().typ(kind).soft(limit.soft).hard(limit.hard);
        seen.push(built(builder.build())?);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::container::oci::tests::{Wish, input};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entry_point_and_command_combine_as_in_docker() {
        // Image's entry point and command, the wish's, and what comes of it.
        for (of_image, entrypoint, command, expected) in [
            (("", "sh -l"), None, "", Some("sh -l")),
            (("/run", "now"), None, "", Some("/run now")),
            (("/run", "now"), None, "later", Some("/run later")),
            (("/run", "now"), Some("/other"), "", Some("/other")),
            (("/run", "now"), Some("/other"), "later", Some("/other later")),
            (("/run", "now"), Some(""), "", Some("now")),
            (("/run", "now"), Some(""), "later", Some("later")),
            (("/run", ""), None, "", Some("/run")),
            (("", ""), None, "", None),
            (("/run", ""), Some(""), "", None),
        ] {
            let image =
                RunConfig { entrypoint: words(of_image.0), cmd: words(of_image.1), ..Default::default() };
            let mut container = ContainerSpec::image("x").command(words(command));
            container.entrypoint = entrypoint.map(words);
            let args = args(&container, Some(&image)).ok();
            assert_eq!(args, expected.map(words), "{of_image:?} {entrypoint:?} {command:?}");
        }
        // The CLI's way to take the entry point away leaves nothing of the image.
        let image = RunConfig { entrypoint: words("/run"), cmd: words("now"), ..Default::default() };
        let mut container = ContainerSpec::image("x");
        container.entrypoint = Some(vec![String::new()]);
        assert!(args(&container, Some(&image)).is_err());
        container.command = words("later");
        assert_eq!(args(&container, Some(&image)).expect("a command"), ["later"]);
        assert!(args(&ContainerSpec::directory("/"), None).is_err());
        assert!(args(&ContainerSpec::directory("/").command(["a\0b"]), None).is_err());
    }

    #[test]
    fn the_environment_is_docker_s_then_the_user_s_then_the_image_s() {
        let mut wish = Wish::default();
        wish.image.config.env = words("PATH=/image LANG=C MODE=image REMOVED=1 VALUELESS");
        wish.container.env = words("MODE=user REMOVED NEW=a=b NEW=c HOSTNAME=mine");
        let env = env(&input(&wish)).expect("well formed");
        assert_eq!(env, ["PATH=/image", "HOSTNAME=mine", "MODE=user", "NEW=c", "LANG=C"]);
        wish.container.terminal = true;
        wish.container.env = words("PATH");
        let env = self::env(&input(&wish)).expect("well formed");
        assert_eq!(env, ["HOSTNAME=box", "TERM=xterm", "LANG=C", "MODE=image", "REMOVED=1"]);
        for bad in ["=x", "", "A=\0"] {
            wish.container.env = vec![bad.into()];
            assert!(self::env(&input(&wish)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_working_directory_is_absolute_and_without_detours() {
        let decided = |wish: &str, image: &str| {
            let mut container = ContainerSpec::image("x");
            container.working_dir = Some(wish.to_owned());
            cwd(&container, Some(&RunConfig { working_dir: image.into(), ..Default::default() }))
        };
        for (wish, image, expected) in [
            ("", "", "/"),
            ("", "/srv", "/srv"),
            ("", "srv", "/srv"),
            ("/a/../../b/./c/", "/srv", "/b/c"),
            ("/proc/self/fd/7", "", "/proc/self/fd/7"),
        ] {
            assert_eq!(decided(wish, image).expect("absolute"), PathBuf::from(expected));
        }
        assert!(decided("relative", "/srv").is_err());
        assert!(decided("/a\0b", "").is_err());
        assert!(decided("", "/a\0b").is_err());
    }

    #[test]
    fn limits_are_named_as_on_the_command_line() {
        let limit = |name: &str, soft, hard| Rlimit { name: name.into(), soft, hard };
        for name in [
            "as",
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ] {
            assert_eq!(rlimits(&[limit(name, 1, u64::MAX)]).expect(name).len(), 1);
        }
        for bad in [
            vec![limit("files", 1, 1)],
            vec![limit("", 1, 1)],
            vec![limit("nofile", 2, 1)],
            vec![limit("nofile", 1, 1), limit("NOFILE", 2, 2)],
        ] {
            assert!(rlimits(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_program_of_exec_has_the_container_s_surroundings() {
        let mut wish = Wish::default();
        wish.container.env = words("A=1 B=2");
        wish.container.working_dir = Some("/srv".into());
        let mut wanted = ExecSpec::new(["ps"]);
        wanted.env = words("A A=3");
        wanted.terminal = true;
        let (process, _) = crate::container::oci::exec(&input(&wish), &wanted).expect("well formed");
        let env = process.env().clone().expect("has one");
        assert_eq!(env[1..], ["HOSTNAME=box", "B=2", "TERM=xterm", "A=3"]);
        assert_eq!(process.cwd(), &PathBuf::from("/srv"));
        assert_eq!(process.terminal(), Some(true));
        let count = |process: &Process| {
            process.capabilities().as_ref().and_then(|c| Some(c.bounding().as_ref()?.len()))
        };
        assert_eq!(count(&process), Some(14));
        wanted.privileged = true;
        let (process, _) = crate::container::oci::exec(&input(&wish), &wanted).expect("well formed");
        assert_eq!(count(&process), Some(41));
        assert!(crate::container::oci::exec(&input(&wish), &ExecSpec::default()).is_err());
    }

    proptest! {
        #[test]
        fn a_working_directory_never_leads_out(path in "/([a-z.]{0,3}/){0,6}") {
            let path = absolute(&path).expect("absolute");
            prop_assert!(path.starts_with("/"));
            prop_assert!(path.components().all(|part| part.as_os_str() != ".."));
        }
    }
}
