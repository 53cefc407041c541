//! The composition root: configuration -> parts -> tasks -> drain. Used by `main` and by the tests.

pub mod config;
