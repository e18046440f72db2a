//! Which events to watch.

use super::{Filter, Timestamp};

/// Which events to watch: those that happen from now on, unless told otherwise.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EventsSpec {
    /// Begin with what happened at or after this time.
    pub since: Option<Timestamp>,
    /// End at this time. If it is past, what happened before it is all there is.
    pub until: Option<Timestamp>,
    /// docker's filters: `container`, `daemon`, `event`, `image`, `label`, `network`, `scope`, `type`, `volume`.
    pub filter: Filter,
}
