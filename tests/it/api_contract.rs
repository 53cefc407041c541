//! The API is what it says of itself, and what the reference says of it.

pub mod document;
pub mod schema;
