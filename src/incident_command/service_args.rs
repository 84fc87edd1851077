//! Which service a command asks, as whom, and how its answers and refusals become lines and exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::people::ADMIN_TOKEN;
use crate::portal::client::{Client, Failure};
use crate::printed::Printed;

/// Understood and refused.
const REFUSED: u8 = 1;
/// Bytes of a file that is looked at for a token.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Which service, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    /// Where the service is
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "RINGFENCE_URL")]
    url: String,
    /// A file with the token to use; else RINGFENCE_TOKEN, else ~/.config/ringfence/token, else the one of a first start
    /// in ./ringfence-data/admin-token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Printed::Text)]
    pub(crate) format: Printed,
}

/// What a command ended with, short of having been done.
pub(crate) enum Stop {
    Failed(Failure),
    /// Something else than the service: arguments, files.
    Could(anyhow::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Could(error)
    }
}

impl ServiceArgs {
    pub(crate) fn connect(&self) -> anyhow::Result<Service> {
        let client = Client::new(&self.url, self.token()?).map_err(anyhow::Error::msg)?;
        Ok(Service { client, format: self.format })
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.token_file {
            return read_token(path).with_context(|| format!("cannot read the token in {}", path.display())).map(Some);
        }
        if let Some(token) = std::env::var("RINGFENCE_TOKEN").ok().filter(|token| !token.trim().is_empty()) {
            return Ok(Some(token.trim().to_owned()));
        }
        let mine = token_place().filter(|path| path.exists());
        let first = Some(PathBuf::from("ringfence-data").join(ADMIN_TOKEN)).filter(|path| path.exists());
        let Some(path) = mine.or(first) else { return Ok(None) };
        read_token(&path).with_context(|| format!("cannot read the token in {}", path.display())).map(Some)
    }
}

fn read_token(path: &std::path::Path) -> anyhow::Result<String> {
    let bytes = crate::storage::Disk::real().read(path, TOKEN_FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).context("it is no text")?;
    Ok(text.trim().to_owned())
}

/// Where one's own token lies unless it is said otherwise.
pub(crate) fn token_place() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("ringfence").join("token"))
}

/// A service to ask.
pub(crate) struct Service {
    client: Client,
    pub(crate) format: Printed,
}

impl Service {
    pub(crate) fn get(&self, path: &str) -> Result<Value, Stop> {
        Ok(self.client.get(path)?)
    }

    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Stop> {
        Ok(self.client.post(path, body)?)
    }

    /// The exit code, and on standard error why it is not 0 and what to do about it.
    pub(crate) fn end(&self, done: Result<(), Stop>) -> anyhow::Result<ExitCode> {
        let (status, body) = match done {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(Stop::Could(error)) => return Err(error),
            Err(Stop::Failed(Failure::Unreachable(text))) => {
                bail!("{text}; is `ringfence serve` running there? `--url` says where it is")
            }
            Err(Stop::Failed(Failure::Refused(status, body))) => (status, body),
        };
        if self.format == Printed::Json {
            eprintln!("{}", serde_json::json!({ "error": body }));
        } else if body.details.len() > 1 {
            eprintln!("ringfence: this is wrong with it:");
            body.details.iter().for_each(|detail| eprintln!("  {}", plain(detail)));
        } else {
            eprintln!("ringfence: {}", plain(&body.message));
        }
        if let Some(advice) = advice(status).filter(|_| self.format == Printed::Text) {
            eprintln!("{advice}");
        }
        // Whoever is not let in, or comes at a bad time, was not refused the thing itself.
        let is_refused = matches!(status, 403 | 404 | 409 | 422);
        Ok(ExitCode::from(if is_refused { REFUSED } else { 2 }))
    }
}

fn advice(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(
            "Set RINGFENCE_TOKEN, or --token-file FILE. An admin makes you a token: `ringfence user token add NAME`. \
             On a fresh install: `ringfence user add NAME --roles admin,commander --save`, as the service's own user.",
        ),
        403 => Some("`ringfence user me` shows what your token may do."),
        409 => {
            Some("Things may have changed since you looked: `ringfence incident show ID` shows them as they are now.")
        }
        _ => None,
    }
}

/// What was asked for, of the answer.
pub(crate) fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, Stop> {
    let text = "the answer is not what this build knows: is the service of another version?";
    T::deserialize(value).context(text).map_err(Stop::Could)
}

/// Text of strangers as it may stand on a terminal: callers' names hold what they like.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
