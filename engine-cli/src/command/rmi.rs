//! `engine rmi`.

use engine_core::ErrorKind;
use engine_core::image::ImageRemoveReport;

use super::each::tell_failure;
use crate::app::App;
use crate::args::image::Rm;
use crate::exit::Outcome;
use crate::render::print;

/// Takes names away from images, and removes those with none left. As with docker, `--force` forgives those that do
/// not exist.
pub(super) async fn rmi(args: Rm, app: App) -> Outcome {
    let engine = app.engine().await?;
    let mut code = 0;
    for name in &args.images {
        match engine.images().remove(name, args.force).await {
            Ok(report) => print(&lines(&report))?,
            Err(e) => {
                let forgiven = args.force && e.is(ErrorKind::NotFound);
                tell_failure(&e.into());
                code = if forgiven { code } else { 1 };
            }
        }
    }
    Ok(code)
}

fn lines(report: &ImageRemoveReport) -> String {
    let untagged = report.untagged.iter().map(|name| format!("Untagged: {}\n", name.familiar()));
    let deleted = report.deleted.iter().map(|digest| format!("Deleted: {digest}\n"));
    untagged.chain(deleted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_what_was_deleted() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let report = ImageRemoveReport {
            untagged: vec!["alpine:3".parse().expect("well formed")],
            deleted: vec![digest.parse().expect("well formed")],
        };
        assert_eq!(lines(&report), format!("Untagged: alpine:3\nDeleted: {digest}\n"));
    }
}
