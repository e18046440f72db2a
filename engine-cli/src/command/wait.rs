//! `engine wait`.

use super::each::tell_failure;
use crate::app::App;
use crate::args::container::Wait;
use crate::exit::Outcome;
use crate::render::print;

/// Waits for the containers, one after the other, and prints their exit codes.
pub(super) async fn wait(args: Wait, app: App) -> Outcome {
    let engine = app.engine().await?;
    let condition = args.condition.unwrap_or_default();
    let mut code = 0;
    for name in &args.containers {
        let ended = match engine.containers().get(name).await {
            Ok(container) => container.wait_until(condition).await,
            Err(e) => Err(e),
        };
        match ended {
            Ok(record) => print(&format!("{}\n", record.code))?,
            Err(e) => {
                tell_failure(&e.into());
                code = 1;
            }
        }
    }
    Ok(code)
}
