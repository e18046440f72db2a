//! `engine kill`.

use engine_core::spec::Signal;

use super::each;
use crate::app::App;
use crate::args::container::Kill;
use crate::exit::Outcome;

/// Sends a signal to the containers' programs.
pub(super) async fn kill(args: Kill, app: App) -> Outcome {
    let engine = app.engine().await?;
    let signal = args.signal.unwrap_or(Signal::KILL);
    each::at_once(&engine, &args.containers, false, |container| async move { container.kill(signal).await })
        .await
}
