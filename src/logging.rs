//! Where log lines go, and how they look.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// As `tracing` reads it: `info`, or `info,ringfence::ingest=debug`. `RINGFENCE_LOG` goes before it.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { level: "info".into(), format: LogFormat::Text }
    }
}

impl LogSettings {
    /// Can the level be understood?
    pub fn check(&self) -> Result<(), String> {
        EnvFilter::try_new(&self.level).map(drop).map_err(|e| e.to_string())
    }

    /// From now on the process logs to standard error. The first call of a process counts.
    pub fn start(&self) {
        let level = std::env::var("RINGFENCE_LOG").unwrap_or_else(|_| self.level.clone());
        let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
        let started = match self.format {
            LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        // Somebody (a test, an embedding program) has set a log up before; theirs stays.
        started.unwrap_or_default();
    }
}
