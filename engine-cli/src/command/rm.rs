//! `engine rm`.

use engine_core::spec::RemoveSpec;

use super::each;
use crate::app::App;
use crate::args::container::Rm;
use crate::exit::Outcome;

/// Removes containers. As with docker, `--force` forgives those that do not exist.
pub(super) async fn rm(args: Rm, app: App) -> Outcome {
    let engine = app.engine().await?;
    let how = RemoveSpec { force: args.force, volumes: args.volumes };
    let remove = |container: engine_core::Container| async move { container.remove(how).await };
    each::at_once(&engine, &args.containers, args.force, remove).await
}
