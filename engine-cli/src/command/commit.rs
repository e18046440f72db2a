//! `engine commit`.

use engine_core::spec::CommitSpec;

use crate::app::App;
use crate::args::container::Commit;
use crate::exit::Outcome;
use crate::render::print;

/// Makes an image of a container and prints its identifier.
pub(super) async fn commit(args: Commit, app: App) -> Outcome {
    let mut spec = CommitSpec::new();
    spec.reference = args.reference;
    spec.author = args.author;
    spec.comment = args.message;
    spec.changes = args.change;
    spec.pause = args.pause;
    let engine = app.engine().await?;
    let id = engine.containers().get(&args.container).await?.commit(spec).await?;
    print(&format!("{id}\n"))?;
    Ok(0)
}
