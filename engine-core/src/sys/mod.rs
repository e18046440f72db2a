//! Typed system calls. The only place of the library that is unsafe; what `nix` and `rustix` offer is used directly.
