//! The engine: a store directory and what it takes to run containers from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builder::EngineBuilder;
use crate::container::Containers;
use crate::error::Result;
use crate::image::Images;
use crate::network::Networks;
use crate::parts::Parts;
use crate::system::System;
use crate::volume::Volumes;

/// An engine. Cheap to clone: clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
}

impl Engine {
    pub(crate) fn new(parts: Arc<Parts>) -> Engine {
        Engine { parts }
    }

    /// Opens the engine whose store is the directory `root`, making it if it is not there.
    ///
    /// # Errors
    /// As [`EngineBuilder::open`].
    pub async fn open(root: impl Into<PathBuf>) -> Result<Engine> {
        EngineBuilder::default().root(root).open().await
    }

    /// An engine with settings of its own.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The store directory.
    pub fn root(&self) -> &Path {
        &self.parts.root
    }

    /// Containers.
    pub fn containers(&self) -> Containers {
        Containers::new(self.parts.clone())
    }

    /// Images.
    pub fn images(&self) -> Images {
        Images::new(self.parts.clone())
    }

    /// Networks.
    pub fn networks(&self) -> Networks {
        Networks::new(self.parts.clone())
    }

    /// Volumes.
    pub fn volumes(&self) -> Volumes {
        Volumes::new(self.parts.clone())
    }

    /// The engine as a whole.
    pub fn system(&self) -> System {
        System::new(self.parts.clone())
    }
}
