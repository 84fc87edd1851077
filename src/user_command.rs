//! `ringfence user`: who may log in, what they may do, and the tokens of their programs, over the service's API.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed, plain, token_place};
use crate::portal::api::wire::{
    Me, PasswordOrder, RolesOrder, TokenDone, TokenList, TokenOrder, UserDone, UserList, UserOrder, UserView,
};
use crate::printed::{Printed, print};
use crate::storage::{Disk, create_secret};

/// People: who may log in, and what they may do
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The first admin, on the machine of the service and as the user who can read its data folder:
  ringfence user add anna --roles admin,commander --save
That uses up the token of the first start. `--save` keeps anna's own token in ~/.config/ringfence/token, where commands
look for it.

Everybody else:
  ringfence user add bert --roles responder         prints a token for bert, once
  ringfence user password bert                      so that bert can log in with a browser too
  ringfence user token add --label \"wall board\" --scopes read --days 365

Roles: viewer looks; analyst opens incidents and writes findings; responder confirms and drafts; commander checks and
releases what is grave; authoriser authorises changes of customers; admin manages users. Somebody may have several.

Exit codes: 0 done, 1 refused, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Who you are, and what you may do
    Me,
    /// Everybody who may log in
    List,
    /// Add somebody; prints a token for them, once
    Add {
        /// Lower-case letters, digits and ._-@
        name: String,
        /// viewer, analyst, responder, commander, authoriser, admin
        #[arg(long, value_name = "ROLE,...", value_delimiter = ',', required = true)]
        roles: Vec<String>,
        /// The name as people read it
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        display: String,
        /// Ask for a password too, for a browser
        #[arg(long)]
        password: bool,
        /// Keep the token in ~/.config/ringfence/token, for commands of this account, rather than print it
        #[arg(long)]
        save: bool,
    },
    /// Set somebody's roles
    Roles {
        name: String,
        #[arg(value_name = "ROLE,...", value_delimiter = ',', required = true)]
        roles: Vec<String>,
    },
    /// Let somebody in no longer
    Disable { name: String },
    /// Let somebody in again
    Enable { name: String },
    /// Set a password: asks for it, or reads a line of standard input
    Password { name: String },
    /// Tokens of programs
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Yours; an admin's list has everybody's
    List,
    /// Make one; it is printed once
    Add {
        /// Whose it is: yours unless you are an admin and say otherwise
        name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        label: String,
        /// read, incidents, messages, admin; all that you have but admin, unless set
        #[arg(long, value_name = "SCOPE,...", value_delimiter = ',')]
        scopes: Vec<String>,
        /// How long it holds; until it is revoked, unless set
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// End one
    Revoke { id: String },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let done = answer(&service, &args.command).and_then(|text| print(&text).map_err(Stop::Could));
    service.end(done)
}

fn answer(service: &Service, command: &Command) -> Result<String, Stop> {
    match command {
        Command::Me => {
            let value = service.get("/me")?;
            let me: Me = parsed(&value)?;
            Ok(printed(service, &value, || {
                let (roles, scopes) = (me.roles.join(", "), me.scopes.join(", "));
                format!("{} ({})\n  roles   {roles}\n  scopes  {scopes}\n", me.name, plain(&me.display))
            }))
        }
        Command::List => {
            let value = service.get("/users")?;
            let list: UserList = parsed(&value)?;
            Ok(printed(service, &value, || list.users.iter().map(line).collect()))
        }
        Command::Add { name, roles, display, password, save } => {
            let password = if *password { Some(ask_password(name)?) } else { None };
            add(service, (name, display), roles, password, *save)
        }
        Command::Roles { name, roles } => change(service, name, "roles", &RolesOrder { roles: roles.clone() }),
        Command::Disable { name } => change(service, name, "disable", &json!({})),
        Command::Enable { name } => change(service, name, "enable", &json!({})),
        Command::Password { name } => {
            let me: Me = parsed(&service.get("/me")?)?;
            let is_own = me.name == *name && !me.roles.iter().any(|role| role == "admin");
            let before = if is_own { Some(ask("The password that holds now: ")?) } else { None };
            change(service, name, "password", &PasswordOrder { password: ask_password(name)?, before })
        }
        Command::Token { command } => token(service, command),
    }
}

fn add(
    service: &Service,
    (name, display): (&str, &str),
    roles: &[String],
    password: Option<String>,
    save: bool,
) -> Result<String, Stop> {
    let place = token_place().filter(|_| save);
    if save {
        let place = place.as_deref().context("--save: there is no home folder to keep the token in")?;
        let taken = || format!("--save: there is a token in {} already; move it away first", place.display());
        ensure_free(place).with_context(taken)?;
    }
    let (name, display) = (name.to_owned(), display.to_owned());
    let order = UserOrder { name, display, roles: roles.to_vec(), password, with_token: true };
    let value = service.post("/users", &order)?;
    let done: UserDone = parsed(&value)?;
    let token = done.token.unwrap_or_default();
    let kept = place.map(|place| keep(&place, &token).map(|()| place)).transpose()?;
    Ok(printed(service, &value, || match kept {
        Some(place) => format!("{}The token is in {}.\n", line(&done.user), place.display()),
        None => format!("{}The token, shown this once:\n\n    {token}\n\n", line(&done.user)),
    }))
}

fn ensure_free(place: &Path) -> anyhow::Result<()> {
    ensure!(!place.exists(), "it is there");
    Ok(())
}

fn keep(place: &Path, token: &str) -> anyhow::Result<()> {
    let disk = Disk::real();
    let made = disk.create_folder(place.parent().unwrap_or(Path::new(".")));
    let kept = made.and_then(|()| create_secret(&disk, place, format!("{token}\n").as_bytes()));
    // The user is there; without the token somebody makes another one.
    kept.with_context(|| format!("the user was added, but the token could not be kept in {}", place.display()))
}

fn change(service: &Service, name: &str, verb: &str, order: &impl serde::Serialize) -> Result<String, Stop> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Stop::Could(anyhow::anyhow!("`{name}` is no name of a user")));
    }
    let value = service.post(&format!("/users/{name}/{verb}"), order)?;
    let user: UserView = parsed(&value)?;
    Ok(printed(service, &value, || line(&user)))
}

fn token(service: &Service, command: &TokenCommand) -> Result<String, Stop> {
    match command {
        TokenCommand::List => {
            let value = service.get("/tokens")?;
            tokens(service, &value)
        }
        TokenCommand::Add { name, label, scopes, days } => {
            let (user, label, scopes) = (name.clone(), label.clone(), scopes.clone());
            let value = service.post("/tokens", &TokenOrder { user, label, scopes, days: *days })?;
            let done: TokenDone = parsed(&value)?;
            Ok(printed(service, &value, || {
                let (id, user, scopes) = (&done.token.id, &done.token.user, done.token.scopes.join(", "));
                format!("{id} of {user}: {scopes}. The token, shown this once:\n\n    {}\n\n", done.text)
            }))
        }
        TokenCommand::Revoke { id } => {
            let is_id = id.bytes().all(|b| b.is_ascii_hexdigit()) && !id.is_empty();
            if !is_id {
                return Err(Stop::Could(anyhow::anyhow!("`{id}` is no id of a token: `ringfence user token list`")));
            }
            let value = service.post(&format!("/tokens/{id}/revoke"), &json!({}))?;
            tokens(service, &value)
        }
    }
}

fn tokens(service: &Service, value: &Value) -> Result<String, Stop> {
    let list: TokenList = parsed(value)?;
    Ok(printed(service, value, || {
        let text = |at: &Option<String>, never: &str| at.clone().unwrap_or_else(|| never.to_owned());
        let line = |token: &crate::portal::api::wire::TokenView| {
            let state = match &token.revoked {
                Some(at) => format!("revoked {at}"),
                None => format!("until {}, used {}", text(&token.expires, "revoked"), text(&token.last_used, "never")),
            };
            let (id, user, scopes) = (&token.id, &token.user, token.scopes.join(","));
            format!("{id}  {user}  {scopes}  {state}  {}\n", plain(&token.label))
        };
        list.tokens.iter().map(line).collect()
    }))
}

fn line(user: &UserView) -> String {
    let state = match (user.is_disabled, user.has_password) {
        (true, _) => "disabled",
        (false, true) => "password and tokens",
        (false, false) => "tokens only",
    };
    format!("{}  {}  {state}  {}\n", user.name, user.roles.join(","), plain(&user.display))
}

fn printed(service: &Service, value: &Value, text: impl FnOnce() -> String) -> String {
    if service.format == Printed::Json { format!("{value}\n") } else { text() }
}

/// A new password: twice at a terminal, one line elsewhere.
fn ask_password(name: &str) -> anyhow::Result<String> {
    let password = ask(&format!("New password of {name}: "))?;
    if io::stdin().is_terminal() {
        ensure!(ask("Once more: ")? == password, "the two are not the same; nothing was changed");
    }
    Ok(password)
}

/// A line of standard input, which at a terminal does not show.
fn ask(prompt: &str) -> anyhow::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let before = stdin.is_terminal().then(|| tcgetattr(&stdin)).transpose().context("cannot hide what is typed")?;
    if let Some(before) = &before {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("cannot hide what is typed")?;
        eprint!("{prompt}");
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        tcsetattr(&stdin, OptionalActions::Flush, before).context("cannot show again what is typed")?;
        eprintln!();
    }
    ensure!(read.context("cannot read standard input")? > 0, "no password on standard input");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
