//! `engine rename`.

use crate::app::App;
use crate::args::container::Rename;
use crate::exit::Outcome;

/// Gives a container another name.
pub(super) async fn rename(args: Rename, app: App) -> Outcome {
    let name = args.name.strip_prefix('/').unwrap_or(&args.name).parse()?;
    let engine = app.engine().await?;
    engine.containers().get(&args.container).await?.rename(name).await?;
    Ok(0)
}
