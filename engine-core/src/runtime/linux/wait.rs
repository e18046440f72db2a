//! Waiting for the end of a container, from any process.

use std::sync::Arc;
use std::time::Duration;

use engine_shim::wire::Kind;

use super::client::Client;
use super::{Host, conversation, state};
use crate::error::Result;
use crate::runtime::driver::{ExitRecord, Place, State};
use crate::runtime::session::{exit, restarting};
use crate::store::blocking;

/// The longest pause between two looks.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The end of the container.
    End,
    /// The end of its program, which may be started again.
    Exit,
}

/// Waits until the container, or its program, has ended. The monitor tells it; where there is none to ask, since it is at its very
/// beginning or end, the facts are looked at in short intervals.
pub(super) async fn wait(host: &Arc<Host>, place: &Place, until: Until) -> Result<Option<ExitRecord>> {
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(record) = hear(place, until).await? {
            return Ok(Some(record));
        }
        let (host, of) = (host.clone(), place.clone());
        match blocking(move || state::of(&host, &of)).await? {
            State::Exited(record) => return Ok(Some(record)),
            State::Absent => return Ok(None),
            State::Running { .. } => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// What the monitor tells of the end; `None` if it does not.
async fn hear(place: &Place, until: Until) -> Result<Option<ExitRecord>> {
    let place = place.clone();
    let Some(client) = blocking(move || Client::connect(&place)).await? else { return Ok(None) };
    let (_input, mut output) = conversation(client.into_socket())?.split();
    while let Some((kind, payload)) = output.frame().await? {
        if kind == Kind::Exited {
            return exit(&payload).map(Some);
        }
        if kind == Kind::Restarting && until == Until::Exit {
            return restarting(&payload).map(Some);
        }
    }
    Ok(None)
}
