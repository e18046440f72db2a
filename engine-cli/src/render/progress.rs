//! What a pull tells while it runs: bars on a terminal, docker's plain lines otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};

use engine_core::{Digest, PullEvent, Reference};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::escape;
use super::{print, size, tell};

/// Where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output: the progress is what was asked for.
    Stdout,
    /// Standard error: standard output is the container's.
    Stderr,
}

impl Target {
    fn is_terminal(self) -> bool {
        match self {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Stderr => io::stderr().is_terminal(),
        }
    }

    /// Tells a line.
    ///
    /// # Errors
    /// Nobody reads standard output.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        let line = format!("{}\n", escape(text));
        match self {
            Target::Stdout => print(&line),
            Target::Stderr => {
                tell(&line);
                Ok(())
            }
        }
    }
}

/// The progress of one pull.
pub(crate) struct Progress {
    target: Target,
    bars: Option<Bars>,
    lines: Lines,
    digest: Option<Digest>,
    quiet: bool,
}

impl Progress {
    /// Told there; not at all if it is to be quiet.
    pub(crate) fn new(target: Target, quiet: bool) -> Progress {
        let bars = (!quiet && target.is_terminal()).then(|| Bars::new(target));
        Progress { target, bars, lines: Lines::default(), digest: None, quiet }
    }

    /// Tells where the image comes from.
    ///
    /// # Errors
    /// Nobody reads standard output.
    pub(crate) fn begin(&self, reference: &Reference) -> io::Result<()> {
        match self.quiet {
            true => Ok(()),
            false => self.target.line(&heading(reference)),
        }
    }

    /// Tells an event.
    ///
    /// # Errors
    /// Nobody reads standard output.
    pub(crate) fn event(&mut self, event: &PullEvent) -> io::Result<()> {
        if let PullEvent::Resolved { digest, .. } = event {
            self.digest = Some(digest.clone());
        }
        if self.quiet {
            return Ok(());
        }
        match &mut self.bars {
            Some(bars) => {
                bars.event(event);
                Ok(())
            }
            None => self.lines.event(event).map_or(Ok(()), |line| self.target.line(&line)),
        }
    }

    /// Tells how it ended.
    ///
    /// # Errors
    /// Nobody reads standard output.
    pub(crate) fn finish(self, reference: &Reference, newer: bool) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        if let Some(digest) = &self.digest {
            self.target.line(&format!("Digest: {digest}"))?;
        }
        let status = if newer { "Downloaded newer image" } else { "Image is up to date" };
        self.target.line(&format!("Status: {status} for {}", reference.familiar()))
    }
}

fn heading(reference: &Reference) -> String {
    let version = reference.tag().map_or_else(|| reference.to_string(), str::to_owned);
    format!("{version}: Pulling from {}", reference.repository())
}

/// Plain lines: one when a layer begins, one when it is there.
#[derive(Debug, Default)]
struct Lines {
    begun: BTreeSet<Digest>,
}

impl Lines {
    fn event(&mut self, event: &PullEvent) -> Option<String> {
        match event {
            PullEvent::Exists { layer } => Some(format!("{}: Already exists", layer.short())),
            PullEvent::Progress { layer, .. } if self.begun.insert(layer.clone()) => {
                Some(format!("{}: Pulling fs layer", layer.short()))
            }
            PullEvent::Retrying { layer, attempt, reason } => {
                Some(format!("{}: Retrying after attempt {attempt}: {reason}", layer.short()))
            }
            PullEvent::Complete { layer } => Some(format!("{}: Pull complete", layer.short())),
            _ => None,
        }
    }
}

/// A bar for each layer.
struct Bars {
    all: MultiProgress,
    layers: BTreeMap<Digest, ProgressBar>,
}

impl Bars {
    fn new(target: Target) -> Bars {
        let target = match target {
            Target::Stdout => ProgressDrawTarget::stdout(),
            Target::Stderr => ProgressDrawTarget::stderr(),
        };
        Bars { all: MultiProgress::with_draw_target(target), layers: BTreeMap::new() }
    }

    fn bar(&mut self, layer: &Digest) -> &ProgressBar {
        let all = &self.all;
        self.layers.entry(layer.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0));
            bar.set_style(plain());
            bar.set_prefix(layer.short().to_owned());
            bar
        })
    }

    fn event(&mut self, event: &PullEvent) {
        match event {
            PullEvent::Resolved { layers, .. } => {
                for (layer, _) in layers {
                    self.bar(layer).set_message("Pulling fs layer");
                }
            }
            PullEvent::Exists { layer } => self.bar(layer).finish_with_message("Already exists"),
            PullEvent::Progress { layer, current, total } => {
                let bar = self.bar(layer);
                if bar.length() != Some(*total) {
                    bar.set_style(downloading());
                    bar.set_length(*total);
                }
                bar.set_message(format!("{}/{}", size::short(*current), size::short(*total)));
                bar.set_position(*current);
            }
            PullEvent::Retrying { layer, attempt, reason } => {
                let bar = self.bar(layer);
                bar.set_style(plain());
                bar.set_length(0);
                bar.set_message(format!("Retrying after attempt {attempt}: {}", escape(reason)));
            }
            PullEvent::Complete { layer } => {
                let bar = self.bar(layer);
                bar.set_style(plain());
                bar.finish_with_message("Pull complete");
            }
            _ => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours, and a test renders them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn plain() -> ProgressStyle {
    style("{prefix}: {msg}")
}

fn downloading() -> ProgressStyle {
    style("{prefix}: Downloading [{bar:40}] {msg}").progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().expect("a digest")
    }

    #[test]
    fn plain_lines_are_docker_s() {
        let mut lines = Lines::default();
        let events = [
            PullEvent::Resolved { digest: layer(9), layers: vec![(layer(1), 5), (layer(2), 10)] },
            PullEvent::Exists { layer: layer(1) },
            PullEvent::Progress { layer: layer(2), current: 0, total: 10 },
            PullEvent::Progress { layer: layer(2), current: 10, total: 10 },
            PullEvent::Retrying { layer: layer(2), attempt: 1, reason: "reset".into() },
            PullEvent::Complete { layer: layer(2) },
        ];
        let told: Vec<String> = events.iter().filter_map(|event| lines.event(event)).collect();
        assert_eq!(
            told,
            [
                "010101010101: Already exists",
                "020202020202: Pulling fs layer",
                "020202020202: Retrying after attempt 1: reset",
                "020202020202: Pull complete"
            ]
        );
    }

    #[test]
    fn the_heading_names_the_repository() {
        let heading = |text: &str| super::heading(&text.parse().expect("well formed"));
        assert_eq!(heading("alpine"), "latest: Pulling from library/alpine");
        assert_eq!(heading("localhost:5000/a/b:1"), "1: Pulling from a/b");
    }

    #[test]
    fn the_templates_of_the_bars_are_well_formed() {
        assert!(ProgressStyle::with_template("{prefix}: {msg}").is_ok());
        assert!(ProgressStyle::with_template("{prefix}: Downloading [{bar:40}] {msg}").is_ok());
    }

    #[test]
    fn bars_take_any_order_of_events() {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut bars = Bars { all, layers: BTreeMap::new() };
        bars.event(&PullEvent::Complete { layer: layer(1) });
        bars.event(&PullEvent::Progress { layer: layer(1), current: 7, total: 0 });
        bars.event(&PullEvent::Exists { layer: layer(3) });
        assert_eq!(bars.layers.len(), 2);
    }
}
