//! `engine pause` and `engine unpause`.

use super::each;
use crate::app::App;
use crate::args::container::{Pause, Unpause};
use crate::exit::Outcome;

/// Holds all processes of the containers still.
pub(super) async fn pause(args: Pause, app: App) -> Outcome {
    let engine = app.engine().await?;
    each::at_once(&engine, &args.containers, false, |container| async move { container.pause().await }).await
}

/// Lets the processes of the containers go on.
pub(super) async fn unpause(args: Unpause, app: App) -> Outcome {
    let engine = app.engine().await?;
    each::at_once(&engine, &args.containers, false, |container| async move { container.unpause().await })
        .await
}
