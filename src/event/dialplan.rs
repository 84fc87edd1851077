//! From what a gateway writes to what it means: dial plans.
