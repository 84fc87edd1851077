//! `ringfence schema`: what editors need to complete and check rule files as they are typed. Only arguments and printing.

use std::process::ExitCode;

use crate::customer;
use crate::policy::schema;
use crate::printed::print;

/// Print the JSON Schema of rule files, so that editors complete and check them
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence schema rules > rules.schema.json
  ringfence schema customer > customer.schema.json

Editors that know TOML by JSON Schema (Taplo, Even Better TOML) take it from a line at the top of a file
  #:schema ../rules.schema.json
or, for all files at once, from .taplo.toml beside the rules:
  [[rule]]
  include = [\"firewall/*.toml\", \"ips/*.toml\", \"ruleset.toml\"]
  [rule.schema]
  path = \"./rules.schema.json\"

A schema knows keys, types and words. What conditions mean, and whether names are there, `ringfence check` knows.

Exit codes: 0 printed.")]
pub struct Args {
    /// Which files
    #[arg(value_enum)]
    of: Of,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Of {
    /// ruleset.toml, firewall/*.toml, ips/*.toml
    Rules,
    /// customers/*.toml, those of `ringfence baseline --write` too
    Customer,
    /// tests/*.test.toml
    Test,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let schema = match args.of {
        Of::Rules => schema::rules(),
        Of::Customer => customer::schema::file(),
        Of::Test => schema::tests(),
    };
    print(&format!("{schema:#}\n"))?;
    Ok(ExitCode::SUCCESS)
}
