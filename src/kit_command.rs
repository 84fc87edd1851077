//! `ringfence kit`: which texts there are, whether they are in order, and how they come out. Needs no service.
//!
//! Only arguments and printing; what is checked and made stands in [`crate::kit`].

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use serde_json::json;

use crate::cli::wants_colour;
use crate::kit::sms::SmsLength;
use crate::kit::{Fact, Facts, Form, Forms, Kind, Kit, Kits, Lint, Type, Variable, speech};
use crate::limits::KIT_FILES_MAX;
use crate::policy::check::{Checked, Report};
use crate::policy::source::RULESET;
use crate::policy::{RuleSource, render};
use crate::printed::{Printed, counted, print};

/// The texts of messages: list, show, check and try them
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence kit list
  ringfence kit show update > kits/update.toml      a shipped kit, to start your own from
  ringfence kit lint kits/
  ringfence kit preview update --kits kits/ --set next_update='Tue 15:00|three p.m.' --set changed='Calls are blocked.'

A kit is one TOML file: the texts of one kind of notice in every form (mail, SMS, portal, announcement), and the
variables in them. A folder of kits takes the place of the shipped ones kind by kind.

Exit codes: 0 fine, 1 a kit has errors or a message could not go out, 2 it could not be done.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every kind of notice, for whom it is, and where its kit comes from
    List {
        /// Folder of kits of your own
        #[arg(long, value_name = "DIR")]
        kits: Option<PathBuf>,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
    /// The file of a shipped kit
    Show {
        /// Kind of notice, as `kit list` names it
        kind: String,
    },
    /// Check kits: every mistake at once, with its place and advice
    Lint {
        /// A folder of kits or one file; the shipped kits unless set
        path: Option<PathBuf>,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
    /// A message in all its forms as it would go out, with its lengths
    Preview {
        /// Kind of notice, as `kit list` names it
        kind: String,
        /// Folder of kits of your own
        #[arg(long, value_name = "DIR")]
        kits: Option<PathBuf>,
        /// A value instead of the kit's example: `name=text`, a time as `name=shown|spoken`, a list as `name=one;two`;
        /// `name=` leaves it out
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Printed::Text)]
        format: Printed,
    },
}

const FINDINGS: u8 = 1;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (out, is_fine) = match &args.command {
        Command::List { kits, format } => (list(&load(kits.as_deref())?, *format), true),
        Command::Show { kind } => (show(kind)?.to_owned(), true),
        Command::Lint { path, format } => lint(path.as_deref(), *format)?,
        Command::Preview { kind, kits, set, format } => preview(&load(kits.as_deref())?, kind, set, *format)?,
    };
    print(&out)?;
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

fn source(path: &Path) -> anyhow::Result<RuleSource> {
    ensure!(path.exists(), "cannot read kits `{}`: there is no such file or folder", path.display());
    Ok(RuleSource::at(path))
}

fn load(folder: Option<&Path>) -> anyhow::Result<Kits> {
    let Some(folder) = folder else { return Ok(Kits::shipped()) };
    let (kits, problems, texts) = Kits::read(&source(folder)?);
    for problem in &problems {
        eprint!("{}", render::drawing(problem, &texts, wants_colour(io::stderr().is_terminal())));
    }
    kits.with_context(|| format!("the kits of `{}` cannot be used", folder.display()))
}

fn kind(word: &str) -> anyhow::Result<Kind> {
    let all = || Kind::ALL.map(Kind::as_str).join(", ");
    Kind::parse(word).ok_or_else(|| anyhow!("there is no kit `{word}`; there are {}", all()))
}

fn list(kits: &Kits, format: Printed) -> String {
    if format == Printed::Json {
        let one = |kit: &Kit| {
            json!({
                "kind": kit.kind().as_str(), "title": kit.title(), "for": kit.audience(), "path": kit.path(),
                "variables": kit.variables(),
            })
        };
        return format!("{}\n", serde_json::Value::from(kits.iter().map(one).collect::<Vec<_>>()));
    }
    let line = |kit: &Kit| {
        let origin = kit.path().unwrap_or("shipped");
        format!("{:<19} {:<30} {:<45} {origin}\n", kit.kind().as_str(), kit.title(), kit.audience())
    };
    kits.iter().map(line).collect()
}

fn show(word: &str) -> anyhow::Result<&'static str> {
    let name = format!("{}.toml", kind(word)?.as_str());
    let mut files = Kits::shipped_files();
    files.find(|(path, _)| *path == name).map(|(_, text)| text).context("every kind ships as a file of its name")
}

/// The report, and whether there is no error.
fn lint(path: Option<&Path>, format: Printed) -> anyhow::Result<(String, bool)> {
    let (report, text) = look(path, wants_colour(io::stdout().is_terminal()))?;
    if format == Printed::Text {
        return Ok((text, report.errors == 0));
    }
    let told = json!({
        "problems": report.problems, "kits": report.checked.kits, "errors": report.errors, "warnings": report.warnings,
    });
    Ok((format!("{told}\n"), report.errors == 0))
}

/// What is wrong with the kits, for programs and for people.
fn look(path: Option<&Path>, colour: bool) -> anyhow::Result<(Report, String)> {
    let source = match path {
        Some(path) => source(path)?,
        None => RuleSource::memory(Kits::shipped_files()),
    };
    let (_, problems, texts) = Kits::read(&source);
    let n_kits = texts.n_files();
    ensure!(n_kits > 0 || !problems.is_empty(), "there is no kit in `{}`", path.unwrap_or(Path::new("")).display());
    let mut report = Report { checked: Checked { kits: n_kits, ..Checked::default() }, ..Report::default() };
    problems.iter().for_each(|problem| report.push(render::told(problem, &texts)));
    let mut out: String = problems.iter().map(|p| render::drawing(p, &texts, colour) + "\n").collect();
    out += &format!("checked {}: ", counted(n_kits, "kit"));
    out += &match (report.errors, report.warnings) {
        (0, 0) => "no problems\n".to_owned(),
        (e, w) => format!("{}, {}\n", counted(e, "error"), counted(w, "warning")),
    };
    Ok((report, out))
}

/// Does the path hold kits, and no rules: a file that says `kit = ` at its top, or a folder of such?
pub(crate) fn is_kits(path: &Path) -> bool {
    let says_kit = |path: &Path| {
        let is_toml = path.extension().is_some_and(|e| e == "toml");
        let text = Some(path).filter(|_| is_toml).and_then(|path| std::fs::read_to_string(path).ok());
        let head = |text: &str| {
            let mut words = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
            words.any(|line| line.strip_prefix("kit").is_some_and(|rest| rest.trim_start().starts_with('=')))
        };
        text.is_some_and(|text| head(&text))
    };
    if !path.is_dir() {
        return says_kit(path);
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    !path.join(RULESET).is_file() && entries.take(KIT_FILES_MAX).any(|entry| says_kit(&entry.path()))
}

/// What `ringfence check` says of kits.
pub(crate) fn report(path: &Path, colour: bool) -> anyhow::Result<(Report, String)> {
    look(Some(path), colour)
}

/// The message, and whether it could go out.
fn preview(kits: &Kits, word: &str, set: &[String], format: Printed) -> anyhow::Result<(String, bool)> {
    let kit = kits.get(kind(word)?);
    let mut facts = kit.examples(|v| v.default.is_some());
    for pair in set {
        let (name, value) = pair.split_once('=').with_context(|| format!("--set {pair}: write name=value"))?;
        let Some(variable) = kit.variables().iter().find(|v| v.name == name) else {
            let names: Vec<_> = kit.variables().iter().map(|v| v.name.as_str()).collect();
            anyhow::bail!("--set {pair}: the kit has no variable `{name}`; it has {}", names.join(", "));
        };
        ensure!(variable.fixed.is_none(), "--set {pair}: the kit fixes `{name}`");
        match value {
            "" => facts.remove(name),
            value => facts.set(name, fact(variable, value).with_context(|| format!("--set {pair}"))?),
        }
    }
    let (forms, lints) = kit.draw(&facts);
    let is_fine = !lints.iter().any(|lint| lint.is_error);
    let out = match format {
        Printed::Json => preview_json(kit, &facts, &forms, &lints),
        Printed::Text => preview_text(kit, &forms, &lints),
    };
    Ok((out, is_fine))
}

fn fact(variable: &Variable, value: &str) -> anyhow::Result<Fact> {
    Ok(match variable.of {
        Type::Text => Fact::text(value),
        Type::Number => Fact::Number(value.parse().context("is a whole number")?),
        Type::Time => {
            let (shown, spoken) = value.split_once('|').unwrap_or((value, value));
            Fact::time(shown, spoken)
        }
        Type::List => Fact::List(value.split(';').map(|item| item.trim().to_owned()).collect()),
    })
}

fn preview_text(kit: &Kit, forms: &Forms, lints: &[Lint]) -> String {
    let mut out = format!("{} ({}), for {}\n", kit.title(), kit.kind().as_str(), kit.audience());
    for form in Form::ALL {
        let text = forms.get(form);
        out += &format!("\n--- {} ({})\n", form.as_str(), length(form, text));
        out += text;
        out += "\n";
    }
    if !lints.is_empty() {
        out += "\n";
    }
    for lint in lints {
        out += &format!("{}[{}]: {lint}\n", if lint.is_error { "error" } else { "warning" }, lint.code);
    }
    out
}

fn length(form: Form, text: &str) -> String {
    match form {
        Form::Sms => {
            let sms = SmsLength::of(text);
            format!("{} of {} {}, {}", sms.n_units, sms.n_units_max(), sms.unit(), counted(sms.n_parts, "part"))
        }
        Form::Acd => format!("{} words, {:.1} s", speech::words(text), speech::seconds(text)),
        Form::MailSubject | Form::Mail | Form::Portal => format!("{} characters", text.chars().count()),
    }
}

fn preview_json(kit: &Kit, facts: &Facts, forms: &Forms, lints: &[Lint]) -> String {
    let value = json!({
        "kind": kit.kind().as_str(),
        "facts": facts,
        "forms": forms,
        "hash": forms.hash(),
        "sms": SmsLength::of(&forms.sms),
        "acd_seconds": speech::seconds(&forms.acd),
        "lints": lints,
    });
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview_of(word: &str, set: &[&str]) -> anyhow::Result<(String, bool)> {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        preview(&Kits::shipped(), word, &set, Printed::Text)
    }

    #[test]
    fn a_preview_shows_every_form_with_its_length_and_takes_values() {
        let (out, is_fine) =
            preview_of("update", &["next_update=Tue 15:00|three p.m.", "changed=Calls are blocked."]).unwrap();
        assert!(is_fine, "{out}");
        for part in
            ["Next update: Tue 15:00", "Next news at three p.m.", "septets, 1 part", " s)", "Calls are blocked."]
        {
            assert!(out.contains(part), "{part}: {out}");
        }
    }

    #[test]
    fn what_cannot_go_out_says_why() {
        let (out, is_fine) = preview_of("update", &["next_update="]).unwrap();
        assert!(!is_fine && out.contains("error[E211]: `next_update` is required and was not given"), "{out}");
        assert!(preview_of("nonsense", &[]).unwrap_err().to_string().contains("there is no kit `nonsense`"));
        assert!(preview_of("update", &["x=1"]).unwrap_err().to_string().contains("no variable `x`"));
        assert!(preview_of("holding", &["action=x"]).unwrap_err().to_string().contains("the kit fixes `action`"));
        assert!(preview_of("update", &["severity=high"]).is_err());
    }

    #[test]
    fn every_kind_is_listed_and_its_file_can_be_shown() {
        let kits = Kits::shipped();
        for kind in Kind::ALL {
            assert!(list(&kits, Printed::Text).contains(kind.as_str()));
            assert!(show(kind.as_str()).unwrap().contains(&format!("kit = \"{}\"", kind.as_str())));
        }
    }

    #[test]
    fn a_folder_is_linted_with_places() {
        let folder = tempfile::tempdir().unwrap();
        let text = show("holding").unwrap().replace("{{ since }}", "{{ sinse }}");
        std::fs::write(folder.path().join("h.toml"), text).unwrap();
        let (out, is_fine) = lint(Some(folder.path()), Printed::Text).unwrap();
        assert!(!is_fine && out.contains("h.toml:16:11") && out.contains("did you mean `since`?"), "{out}");
        let (out, _) = lint(Some(folder.path()), Printed::Json).unwrap();
        assert!(out.contains("\"code\":\"E202\""), "{out}");
        assert_eq!(lint(None, Printed::Text).unwrap(), ("checked 16 kits: no problems\n".to_owned(), true));
        assert!(lint(Some(Path::new("/nowhere")), Printed::Text).is_err());
        assert!(is_kits(folder.path()) && is_kits(&folder.path().join("h.toml")));
        assert!(!is_kits(Path::new("rules")) && !is_kits(Path::new("rules/ips/10-floods.toml")));
    }
}
