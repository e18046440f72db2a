//! The default runtime.
