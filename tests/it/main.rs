//! The integration tests: the built program against models, real tools and the house rules.

mod acd;
mod api;
mod backfill;
mod backup;
mod brute;
mod captures;
mod cases;
mod corpus;
mod customers;
mod deliveries;
mod doctor;
mod edges;
mod expression;
mod findings;
mod golden;
mod mirrored;
mod objectives;
mod oracle;
mod posts;
mod records;
mod service;
mod signalling;
mod sms;
mod support;
mod tidy;
