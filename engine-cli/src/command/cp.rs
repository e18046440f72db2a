//! `engine cp`.

use std::io::{self, IsTerminal as _};

use engine_core::Container;
use engine_core::container::CopyReport;
use engine_core::spec::{ArchiveSpec, CopySpec};

use super::export::{stdout, write};
use crate::app::App;
use crate::args::container::Cp;
use crate::exit::{Failure, Outcome};
use crate::render::text::escape;
use crate::render::{size, tell};

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    /// A tar archive on a standard stream.
    Stream,
    Host(&'a str),
    Container(&'a str, &'a str),
}

/// What a word means, by docker's rules: a path that is absolute or begins with a dot is one of this host.
fn side(word: &str) -> Side<'_> {
    match word.split_once(':') {
        _ if word == "-" => Side::Stream,
        Some((name, path)) if !word.starts_with(['/', '.']) => Side::Container(name, path),
        _ => Side::Host(word),
    }
}

/// Copies files between a container and this host.
pub(super) async fn cp(args: Cp, app: App) -> Outcome {
    for (word, what) in [(&args.source, "source"), (&args.destination, "destination")] {
        if word.is_empty() {
            return Err(Failure::new(format!("{what} can not be empty")));
        }
    }
    let (source, destination) = (side(&args.source), side(&args.destination));
    // As docker has it: where nobody looks, nothing is told.
    let quiet = args.quiet.unwrap_or_else(|| !io::stdout().is_terminal());
    match (source, destination) {
        (Side::Container(..), Side::Container(..)) => {
            Err(Failure::new("copying between containers is not supported")
                .with_remedy("copy to this host first, or pipe: engine cp A:PATH - | engine cp - B:PATH"))
        }
        (Side::Container(name, path), Side::Stream) => {
            let container = find(&app, name).await?;
            let path = match args.follow_link {
                true => followed(&container, path).await?,
                false => path.to_owned(),
            };
            if io::stdout().is_terminal() {
                return Err(Failure::new("cowardly refusing to write an archive to a terminal")
                    .with_remedy("redirect standard output"));
            }
            write(container.copy_out(&path).await?, stdout()?).await?;
            Ok(0)
        }
        (Side::Container(name, path), Side::Host(host)) => {
            let report = find(&app, name).await?.copy_from(wish(&args, host, path)).await?;
            told(quiet, &report, &report.target);
            Ok(0)
        }
        (Side::Stream, Side::Container(name, path)) => {
            from_stdin(&args, &find(&app, name).await?, name, path).await
        }
        (Side::Host(host), Side::Container(name, path)) => {
            let report = find(&app, name).await?.copy_to(wish(&args, host, path)).await?;
            told(quiet, &report, &format!("{name}:{}", report.target));
            Ok(0)
        }
        _ => Err(Failure::new("must specify at least one container source")
            .with_remedy("write a path in a container as CONTAINER:PATH")),
    }
}

async fn find(app: &App, name: &str) -> Result<Container, Failure> {
    Ok(app.engine().await?.containers().get(name).await?)
}

fn wish(args: &Cp, host: &str, container: &str) -> CopySpec {
    let mut wish = CopySpec::new(host, container);
    wish.follow_link = args.follow_link;
    wish.archive = args.archive;
    wish
}

/// Where a symbolic link leads.
async fn followed(container: &Container, path: &str) -> Result<String, Failure> {
    let found = container.stat_path(path).await?;
    Ok(if found.is_symbolic_link() { found.link_target } else { path.to_owned() })
}

async fn from_stdin(args: &Cp, container: &Container, name: &str, path: &str) -> Outcome {
    let path = if path.is_empty() { "/" } else { path };
    let mut target = path.to_owned();
    let mut found = container.stat_path(&target).await;
    if let Ok(link) = &found
        && link.is_symbolic_link()
    {
        target.clone_from(&link.link_target);
        found = container.stat_path(&target).await;
    }
    if !found.is_ok_and(|found| found.is_directory()) {
        return Err(Failure::new(format!("destination \"{name}:{path}\" must be a directory")));
    }
    let mut spec = ArchiveSpec::default().keep_directories();
    spec.copy_uid_gid = args.archive;
    container.copy_in(&target, Box::new(io::stdin()), spec).await?;
    Ok(0)
}

fn told(quiet: bool, report: &CopyReport, target: &str) {
    if !quiet {
        tell(&format!("Successfully copied {} to {}\n", size::short(report.bytes), escape(target)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_what_it_means_to_docker() {
        for (word, expected) in [
            ("-", Side::Stream),
            ("web:/etc", Side::Container("web", "/etc")),
            ("web:", Side::Container("web", "")),
            ("web:a:b", Side::Container("web", "a:b")),
            ("./web:x", Side::Host("./web:x")),
            ("/web:x", Side::Host("/web:x")),
            ("plain", Side::Host("plain")),
        ] {
            assert_eq!(side(word), expected, "{word}");
        }
    }
}
