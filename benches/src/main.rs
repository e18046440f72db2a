//! One command, one table: each row is measured side by side with whatever of Docker, Podman, crun and runc is
//! installed, in one run, turn by turn, as medians. Absolute times mean little on a shared machine; the ratios do.
//!
//! `cargo xtask bench [--quick] [ROW…]`. Needs root; makes a network namespace of its own and cleans up after itself.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program for people that measure: it prints, and may fail loudly"
)]

mod crowd;
mod logging;
mod peers;
mod rows;
mod timing;

use peers::Host;

/// A line of the table.
struct Row {
    work: &'static str,
    /// What was measured, by name: the engine first.
    figures: Vec<(String, f64)>,
    unit: &'static str,
    /// The promise, as a ratio to one of the others or an absolute bound.
    bar: Bar,
}

enum Bar {
    /// At most so many times the figure of that name.
    Ratio(&'static str, f64),
    /// At most so much more than the figure of that name.
    More(&'static str, f64),
    /// At most this.
    Absolute(f64),
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let wanted: Vec<&str> = args.iter().filter(|arg| !arg.starts_with('-')).map(String::as_str).collect();
    let host = Host::prepare(quick);
    println!("| work | figures (medians) | unit | bar | kept |");
    println!("|---|---|---|---|---|");
    let mut all_kept = true;
    for (name, measure) in rows::ALL {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        for row in measure(&host) {
            all_kept &= print(&row);
        }
    }
    drop(host);
    if !quick && !all_kept {
        println!("\nnot every bar was kept");
    }
}

/// Prints the row; whether its bar was kept, where that could be told, is the answer.
fn print(row: &Row) -> bool {
    let figures: Vec<String> =
        row.figures.iter().map(|(name, figure)| format!("{name} {figure:.2}")).collect();
    let engine = row.figures.first().map_or(f64::NAN, |(_, figure)| *figure);
    let figure =
        |wanted: &str| row.figures.iter().find(|(name, _)| name == wanted).map(|(_, figure)| *figure);
    let (bar, kept) = match row.bar {
        Bar::Ratio(peer, most) => (
            format!("≤ {most:.2} × {peer}"),
            figure(peer).map(|peer| (engine / peer <= most, format!("{:.2} ×", engine / peer))),
        ),
        Bar::More(peer, most) => (
            format!("≤ {peer} + {most:.0}"),
            figure(peer).map(|peer| (engine - peer <= most, format!("+{:.2}", engine - peer))),
        ),
        Bar::Absolute(most) => (format!("≤ {most:.0}"), Some((engine <= most, format!("{engine:.0}")))),
    };
    let verdict = match &kept {
        Some((true, ratio)) => format!("yes, {ratio}"),
        Some((false, ratio)) => format!("**no**, {ratio}"),
        None => "not installed".to_owned(),
    };
    println!("| {} | {} | {} | {bar} | {verdict} |", row.work, figures.join(", "), row.unit);
    kept.is_none_or(|(kept, _)| kept)
}
