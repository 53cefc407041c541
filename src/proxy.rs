//! The data plane (stand-in of the upstream branch; the lead's file replaces it).

pub mod upstream;
