//! Runs a program in a throw-away copy of this host and reads its output. Nothing is downloaded.
//!
//! `cargo run -p engine-examples --bin hello` as root.
#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use engine_core::spec::AttachSpec;
use engine_core::{ContainerSpec, Engine};

#[tokio::main(flavor = "current_thread")]
async fn main() -> engine_core::Result<()> {
    let engine = Engine::open(std::env::temp_dir().join("engine-example")).await?;
    let spec = ContainerSpec::overlay("/").command(["sh", "-c", "echo hello from $(hostname)"]).auto_remove();
    let container = engine.containers().create(spec).await?;
    let session = container.start_attached(AttachSpec::OUTPUT).await?;
    let (stdout, _, exit) = session.output(1 << 20).await?;
    container.wait().await?;
    print!("{}", String::from_utf8_lossy(&stdout));
    println!("it ended with {}", exit.code);
    Ok(())
}
