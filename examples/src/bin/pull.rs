//! Pulls an image and tells how it goes on.
//!
//! `cargo run -p engine-examples --bin pull -- localhost:5000/debian:bookworm` as root.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it shows")]

use engine_core::image::PullSpec;
use engine_core::{Engine, PullEvent, Reference};

#[tokio::main(flavor = "current_thread")]
async fn main() -> engine_core::Result<()> {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: pull IMAGE");
        return Ok(());
    };
    let engine = Engine::open(std::env::temp_dir().join("engine-example")).await?;
    let mut pull = engine.images().pull(PullSpec::new(name.parse::<Reference>()?));
    while let Some(event) = pull.next().await {
        match event {
            PullEvent::Resolved { digest, layers } => {
                let bytes: u64 = layers.iter().map(|(_, size)| size).sum();
                println!("{digest}: {} layers, {bytes} bytes", layers.len());
            }
            PullEvent::Exists { layer } => println!("{}: is here already", layer.short()),
            PullEvent::Complete { layer } => println!("{}: complete", layer.short()),
            PullEvent::Retrying { layer, attempt, reason } => {
                println!("{}: attempt {attempt} failed: {reason}", layer.short());
            }
            _ => {}
        }
    }
    let image = pull.finish().await?;
    println!("{name} is {image}");
    Ok(())
}
