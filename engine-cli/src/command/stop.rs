//! `engine stop`.

use engine_core::spec::StopSpec;

use super::each;
use crate::app::App;
use crate::args::container::Stop;
use crate::exit::Outcome;

/// Asks the containers' programs to end, and kills those that do not.
pub(super) async fn stop(args: Stop, app: App) -> Outcome {
    let engine = app.engine().await?;
    let how = StopSpec { signal: args.signal, timeout: args.timeout };
    each::at_once(&engine, &args.containers, false, |container| async move { container.stop(how).await })
        .await
}
