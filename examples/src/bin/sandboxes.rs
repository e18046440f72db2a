//! A pool of sandboxes: untrusted snippets run side by side, each in a container of its own that has no network, little
//! memory and no way to outlive this program, however it ends.
//!
//! `cargo run -p engine-examples --bin sandboxes` as root.
#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use std::time::{Duration, Instant};

use engine_core::spec::{AttachSpec, Lifetime, NetworkMode, Signal};
use engine_core::{ContainerSpec, Engine, Result};

/// What a snippet did.
struct Outcome {
    output: String,
    code: i32,
}

/// Runs `script` for at most `limit`.
async fn run(engine: Engine, script: String, limit: Duration) -> Result<Outcome> {
    let spec = ContainerSpec::overlay("/")
        .command(["sh", "-c", &script])
        .network(NetworkMode::None)
        .memory(64 << 20)
        .auto_remove()
        .lifetime(Lifetime::WithEngine);
    let container = engine.containers().create(spec).await?;
    let session = container.start_attached(AttachSpec::OUTPUT).await?;
    let output = session.output(1 << 20);
    tokio::pin!(output);
    let output = match tokio::time::timeout(limit, &mut output).await {
        Ok(output) => output?,
        Err(_) => {
            container.kill(Signal::KILL).await?;
            output.await?
        }
    };
    // Its end is recorded and it is removed when this returns. One that was killed above is gone already.
    let _ = container.wait().await;
    Ok(Outcome { output: String::from_utf8_lossy(&output.0).into_owned(), code: output.2.code })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let engine = Engine::open(std::env::temp_dir().join("engine-example")).await?;
    let begin = Instant::now();
    let mut snippets = tokio::task::JoinSet::new();
    for n in 0..16 {
        let script = match n {
            15 => "echo I never stop; while true; do :; done".to_owned(),
            n => format!("echo snippet {n}: $(({n} * {n}))"),
        };
        snippets.spawn(run(engine.clone(), script, Duration::from_secs(2)));
    }
    while let Some(outcome) = snippets.join_next().await {
        let outcome = outcome.map_err(|e| engine_core::Error::internal("a snippet", e.to_string()))??;
        println!("{:>3}  {}", outcome.code, outcome.output.trim_end());
    }
    println!("16 sandboxes in {} ms", begin.elapsed().as_millis());
    Ok(())
}
