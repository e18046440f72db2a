//! Measuring: turn by turn, so that a machine whose speed drifts drifts for everybody.

use std::process::{Command, Stdio};
use std::time::Instant;

/// The median of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The whole life of a process, in milliseconds. It has to go well.
pub(crate) fn process(command: &mut Command) -> f64 {
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("runs");
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    elapsed
}

/// A contender: its name, and a run of its work that gives a figure.
pub(crate) type Contender<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);

/// The median of each contender over `rounds` rounds, each of which lets every one have its turn. One round before
/// is not counted.
pub(crate) fn in_turn(rounds: usize, mut contenders: Vec<Contender<'_>>) -> Vec<(String, f64)> {
    let mut figures = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for ((_, run), figures) in contenders.iter_mut().zip(&mut figures) {
            let figure = run();
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    contenders.iter().zip(figures).map(|((name, _), figures)| ((*name).to_owned(), median(figures))).collect()
}
