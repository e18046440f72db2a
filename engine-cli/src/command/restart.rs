//! `engine restart`.

use engine_core::spec::StopSpec;

use super::each;
use crate::app::App;
use crate::args::container::Restart;
use crate::exit::Outcome;

/// Stops the containers, if they run, and starts them.
pub(super) async fn restart(args: Restart, app: App) -> Outcome {
    let engine = app.engine().await?;
    let how = StopSpec { signal: args.signal, timeout: args.timeout };
    each::at_once(&engine, &args.containers, false, |container| async move { container.restart(how).await })
        .await
}
