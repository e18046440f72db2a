//! `engine pull`.

use engine_core::image::PullSpec;

use super::ps::has_tag;
use crate::app::App;
use crate::args::image::Pull;
use crate::exit::Outcome;
use crate::render::print;
use crate::render::progress::{Progress, Target};

/// Fetches an image from its registry.
pub(super) async fn pull(args: Pull, app: App) -> Outcome {
    let reference: engine_core::Reference = args.reference.parse()?;
    let engine = app.engine().await?;
    let written = args.reference.split('@').next().unwrap_or_default();
    if !args.quiet && reference.digest().is_none() && !has_tag(written) {
        Target::Stdout.line("Using default tag: latest")?;
    }
    let name = reference.to_string();
    // To tell a newer image from the one that was there.
    let before = engine.images().inspect(&name).await.map(|image| image.id).ok();

    let mut progress = Progress::new(Target::Stdout, args.quiet);
    let mut spec = PullSpec::new(reference.clone());
    spec.platform = args.platform;
    let mut pull = engine.images().pull(spec);
    progress.begin(&reference)?;
    while let Some(event) = pull.next().await {
        progress.event(&event)?;
    }
    let id = pull.finish().await?;
    progress.finish(&reference, before.as_ref() != Some(&id))?;
    print(&format!("{name}\n"))?;
    Ok(0)
}
