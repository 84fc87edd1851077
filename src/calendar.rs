//! Business hours in local time.

#[derive(Debug)]
pub struct Calendar;
