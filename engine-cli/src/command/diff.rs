//! `engine diff`.

use engine_core::image::ChangeKind;

use crate::app::App;
use crate::args::container::Diff;
use crate::exit::Outcome;
use crate::render::print;
use crate::render::text::escape;

/// Prints what a container has changed of its image.
pub(super) async fn diff(args: Diff, app: App) -> Outcome {
    let engine = app.engine().await?;
    let mut lines = String::new();
    for change in engine.containers().get(&args.container).await?.diff().await? {
        let letter = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        lines.push_str(&format!("{letter} {}\n", escape(&change.path.to_string_lossy())));
    }
    print(&lines)?;
    Ok(0)
}
