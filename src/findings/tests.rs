//! The rules of recommendations and the parts of drafts, on small examples.
