//! The commands for images.

use std::path::PathBuf;

use clap::{ArgAction, Parser};
use engine_core::Reference;
use engine_core::spec::Platform;

use super::container::{Condition, condition};
use super::parse::reason;

/// `os/arch[/variant]`; nothing is this host's.
pub(crate) fn platform(text: &str) -> Result<Platform, String> {
    match text {
        "" => Ok(Platform::host()),
        _ => text.parse().map_err(reason),
    }
}

/// The name of an image.
pub(crate) fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(reason)
}

/// Download an image from a registry
#[derive(Debug, Parser)]
pub(crate) struct Pull {
    /// Accepted for docker's sake.
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// The platform, where the image is for several
    #[arg(long, value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, as it was written: whether it has a tag is told.
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) reference: String,
}

/// List images
#[derive(Debug, Parser)]
pub(crate) struct Ls {
    /// Show all images (there are no hidden ones)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only those of this repository.
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) repository: Option<String>,
}

/// Remove one or more images
#[derive(Debug, Parser)]
pub(crate) struct Rm {
    /// Force removal of the image
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The images.
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
#[derive(Debug, Parser)]
pub(crate) struct Tag {
    /// The image.
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub(crate) source: String,
    /// Its further name.
    #[arg(value_name = "TARGET_IMAGE[:TAG]", value_parser = reference)]
    pub(crate) target: Reference,
}

/// Import the contents from a tarball to create a filesystem image
#[derive(Debug, Parser)]
pub(crate) struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long)]
    pub(crate) change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// The platform that the files are for
    #[arg(long, value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// The archive; `-` is standard input.
    #[arg(value_name = "file|-")]
    pub(crate) source: String,
    /// What to call the image.
    #[arg(value_name = "REPOSITORY[:TAG]", value_parser = reference)]
    pub(crate) reference: Option<Reference>,
}

/// Load an image from a tar archive or STDIN
#[derive(Debug, Parser)]
pub(crate) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long)]
    pub(crate) input: Option<PathBuf>,
    /// Load only the given platform variant
    #[arg(long, value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Suppress the load output
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Save one or more images to a tar archive (streamed to STDOUT by default)
#[derive(Debug, Parser)]
pub(crate) struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// The form of the archive: 'docker' (an OCI layout too) or 'oci' (default "docker")
    #[arg(long, default_value = "docker", value_parser = ["docker", "oci"])]
    pub(crate) archive: String,
    /// The images.
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Show the history of an image
#[derive(Debug, Parser)]
pub(crate) struct History {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Print sizes and dates in human readable format (default true)
    #[arg(short = 'H', long, default_value = "true", action = ArgAction::SetTrue)]
    pub(crate) human: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// Display detailed information on one or more images
#[derive(Debug, Parser)]
pub(crate) struct Inspect {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// The images.
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) names: Vec<String>,
}

/// Remove unused images
#[derive(Debug, Parser)]
pub(crate) struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
