//! `engine system start-all`.

use super::each::tell_failure;
use crate::app::App;
use crate::args::system::StartAll;
use crate::exit::{Failure, Outcome};
use crate::render::print;

/// Starts the containers that their restart policies want to run, and prints their names.
pub(super) async fn start_all(_: StartAll, app: App) -> Outcome {
    let engine = app.engine().await?;
    let report = engine.system().start_all().await?;
    for name in &report.started {
        print(&format!("{name}\n"))?;
    }
    let failed = !report.failed.is_empty();
    report.failed.into_iter().for_each(|(_, e)| tell_failure(&Failure::from(e)));
    Ok(u8::from(failed))
}
