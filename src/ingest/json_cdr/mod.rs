//! Call records in JSON, one `cdr` event an object: FreeSWITCH's mod_json_cdr, and CGRateS.

mod bounds;

pub(crate) use bounds::{Bounds, Next};
