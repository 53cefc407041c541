//! A stored policy as people give it and see it: the same names over the REST API and on the command line.
//!
//! Invariant: what is shown of a policy's contents can be given back as it is: a draft has a field for
//! each of them.

mod difference;
mod draft;
mod fields;
mod view;

pub use difference::{changed_fields, unified};
pub use draft::{Applied, PolicyDraft};
pub use view::{
    Policies, PolicyMember, PolicyPreview, PolicyVersion, PolicyVersions, PolicyView, PreviewedMembers,
    PreviewedTool,
};
