//! Doing one thing to several objects, as docker does: all of them are tried, each success is printed and each failure
//! told, and the command fails if any did.

use std::future::Future;

use engine_core::{Container, Engine, Error, ErrorKind};

use crate::exit::{Failure, Outcome};
use crate::render::{print, tell};

/// Tells one failure of several, and goes on.
pub(super) fn tell_failure(failure: &Failure) {
    tell(&failure.report());
}

/// Does it to all at once and prints the names of those it was done to, in the order they were given. One that was
/// not found is told, but `forgiving` makes no failure of it.
pub(super) async fn at_once<F, W>(engine: &Engine, names: &[String], forgiving: bool, action: F) -> Outcome
where
    F: Fn(Container) -> W,
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut tasks = Vec::with_capacity(names.len());
    for name in names {
        // Looking up is quick and comes first: what cannot be found must not be mistaken for what failed.
        let found = engine.containers().get(name).await;
        tasks.push((name, found.map(|container| tokio::spawn(action(container)))));
    }
    let mut code = 0;
    for (name, task) in tasks {
        let result = match task {
            Ok(task) => task.await.unwrap_or_else(|e| Err(Error::internal(name.clone(), e.to_string()))),
            Err(e) => Err(e),
        };
        match result {
            Ok(()) => print(&format!("{name}\n"))?,
            // What was asked for is so already.
            Err(e) if e.is(ErrorKind::NotModified) => print(&format!("{name}\n"))?,
            Err(e) => {
                let forgiven = forgiving && e.is(ErrorKind::NotFound);
                tell_failure(&e.into());
                code = if forgiven { code } else { 1 };
            }
        }
    }
    Ok(code)
}
