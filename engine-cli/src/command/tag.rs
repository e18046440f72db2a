//! `engine tag`.

use crate::app::App;
use crate::args::image::Tag;
use crate::exit::Outcome;

/// Gives an image another name.
pub(super) async fn tag(args: Tag, app: App) -> Outcome {
    let engine = app.engine().await?;
    engine.images().tag(&args.source, &args.target).await?;
    Ok(0)
}
