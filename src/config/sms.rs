//! Providers of text messages: `[[sms]]`, the first and the second.

use std::net::IpAddr;

use hyper::{Method, Uri};

use super::section::{Section, parse_url};
use crate::delivery::sms::{GenericSettings, KannelSettings, Kind, Settings, Sms, TwilioSender, TwilioSettings};
use crate::notify::Endpoint;

#[derive(Clone, Copy)]
enum Word {
    Kannel,
    Twilio,
    Http,
}

/// In the order in which they are asked. One that is not whole is a mistake, and left out.
pub(super) fn read(root: &Section<'_, '_>) -> Vec<Settings> {
    let mut all: Vec<Settings> = Vec::new();
    for section in root.sections("sms") {
        let Some(settings) = one(&section) else { continue };
        if all.iter().any(|other| other.name == settings.name) {
            section.problem("name", format!("there is a provider `{}` already", settings.name));
        }
        match Sms::new(settings.clone(), None) {
            Ok(_) => all.push(settings),
            Err(e) => section.problem_here(format!("sms `{}`: {e}", settings.name)),
        }
    }
    all
}

fn one(section: &Section<'_, '_>) -> Option<Settings> {
    let words = [("kannel", Word::Kannel), ("twilio", Word::Twilio), ("http", Word::Http)];
    if !section.has("kind") {
        section.problem_here("an [[sms]] needs a `kind`: kannel, twilio or http".to_owned());
    }
    // Without it nobody knows which keys there are.
    let kind = section.word("kind", &words)?;
    let name = name(section);
    let usual = matches!(kind, Word::Twilio).then(|| "https://api.twilio.com".to_owned());
    let text = section.text("url").or(usual);
    if text.is_none() {
        section.problem_here("an [[sms]] needs a `url`".to_owned());
    }
    let url = text.as_ref().and_then(|text| server(section, text, matches!(kind, Word::Http)));
    let timeouts = super::read_timeouts(section);
    let is_meant = section.boolean("insecure").unwrap_or(false);
    if url.as_ref().is_some_and(is_in_the_clear) && !is_meant {
        let why = "passwords and texts would cross the network in the clear: use https://, a gateway on this machine, or \
                   set `insecure = true`";
        section.problem("url", why.to_owned());
    }
    let (kind, bearer_token) = match kind {
        Word::Kannel => (kannel(section).map(Kind::Kannel), None),
        Word::Twilio => (twilio(section).map(Kind::Twilio), None),
        Word::Http => {
            let generic = generic(section, text.unwrap_or_default());
            (Some(Kind::Generic(Box::new(generic))), section.secret("bearer_token"))
        }
    };
    let per_minute = section.integer("per_minute", 1..=1_000_000).and_then(|n| usize::try_from(n).ok());
    section.finish();
    Some(Settings { name: name?, endpoint: Endpoint { url: url?, bearer_token, ..timeouts }, kind: kind?, per_minute })
}

/// It stands in addresses and in metrics.
fn name(section: &Section<'_, '_>) -> Option<String> {
    let Some(name) = section.text("name") else {
        section.problem_here("an [[sms]] needs a `name`, by which people know the provider".to_owned());
        return None;
    };
    let is_plain = name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !is_plain {
        section.problem("name", format!("`{name}` is not up to 32 letters, digits, `-` and `_`"));
    }
    is_plain.then_some(name)
}

/// Without TLS, and not to this machine.
fn is_in_the_clear(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("http") && !is_local
}

/// Behind the server, the URL of `http` is a template.
fn server(section: &Section<'_, '_>, text: &str, is_template: bool) -> Option<Uri> {
    let end = text.find("://").and_then(|at| Some(at + 3 + text.get(at + 3..)?.find(['/', '?'])?));
    match (is_template, end) {
        (true, Some(end)) => parse_url(section, "url", text.get(..end).unwrap_or(text)),
        _ => parse_url(section, "url", text),
    }
}

fn kannel(section: &Section<'_, '_>) -> Option<KannelSettings> {
    let (user, password) = (section.text("user"), section.secret("password"));
    let (from, extras) = (section.text("from"), section.text_map("extras"));
    if user.is_none() || !(section.has("password_file") || section.has("password_env")) {
        section.problem_here("Kannel needs `user` and `password_file`: those of its sendsms-user".to_owned());
    }
    Some(KannelSettings { user: user?, password: password?, from, extras })
}

fn twilio(section: &Section<'_, '_>) -> Option<TwilioSettings> {
    let (account, auth_token) = (section.text("account"), section.secret("auth_token"));
    if account.is_none() || !(section.has("auth_token_file") || section.has("auth_token_env")) {
        section.problem_here("Twilio needs `account` (AC...) and `auth_token_file`".to_owned());
    }
    let sender = match (section.text("from"), section.text("messaging_service")) {
        (Some(from), None) => Some(TwilioSender::From(from)),
        (None, Some(service)) => Some(TwilioSender::Service(service)),
        _ => {
            section.problem_here("Twilio needs either `from` or `messaging_service`".to_owned());
            None
        }
    };
    Some(TwilioSettings { account: account?, auth_token: auth_token?, sender: sender? })
}

fn generic(section: &Section<'_, '_>, url: String) -> GenericSettings {
    let methods = [("GET", Method::GET), ("POST", Method::POST), ("PUT", Method::PUT)];
    let words: Vec<(&str, usize)> = methods.iter().enumerate().map(|(i, (word, _))| (*word, i)).collect();
    let method = section.word("method", &words).and_then(|i| methods.get(i)).map_or(Method::POST, |(_, m)| m.clone());
    let (body, content_type) = (section.text("body"), section.text("content_type"));
    let usual = body.is_some().then(|| "application/json".to_owned());
    GenericSettings {
        method,
        url,
        body,
        content_type: content_type.or(usual),
        headers: section.text_map("headers"),
        user: section.text("user"),
        password: section.secret("password"),
        from: section.text("from"),
        success: section.statuses("success").unwrap_or_else(|| vec![200, 201, 202]),
        later: section.statuses("later").unwrap_or_default(),
        receipt: section.text("receipt"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;
    use crate::delivery::sms::Kind;

    fn problems(text: &str) -> Vec<String> {
        parse(text, Path::new("ringfence.toml")).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_and_the_second_provider_are_read_in_their_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("p"), "hunter2\n").expect("writes");
        let text = r#"
[[sms]]
name = "beside"
kind = "kannel"
url = "http://127.0.0.1:13013/cgi-bin/sendsms"
user = "ringfence"
password_file = "p"
extras = { smsc = "a" }
[[sms]]
name = "twilio"
kind = "twilio"
account = "AC123"
auth_token_file = "p"
from = "+15005550006"
[[sms]]
name = "other"
kind = "http"
url = "https://sms.example.com/{{ from|urlencode }}"
from = "a b"
body = '{"to": {{ to|json }}, "text": {{ text|json }}}'
success = [200]
"#;
        let (config, problems) = parse(text, &folder.path().join("ringfence.toml"));
        assert_eq!(problems, []);
        let config = config.expect("no problems");
        let names: Vec<&str> = config.sms.iter().map(|sms| sms.name.as_str()).collect();
        assert_eq!(names, ["beside", "twilio", "other"]);
        assert_eq!(config.sms[1].endpoint.url, "https://api.twilio.com/");
        assert!(matches!(&config.sms[0].kind, Kind::Kannel(kannel) if kannel.extras.len() == 1));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_provider_that_is_not_whole_is_told_with_what_it_lacks() {
        for (text, told) in [
            ("[[sms]]\n", "needs a `kind`"),
            (
                "[[sms]]\nkind = \"kannel\"\nurl = \"http://h/\"\nuser = \"u\"\npassword_env = \"PATH\"\n",
                "needs a `name`",
            ),
            (
                "[[sms]]\nname = \"a/b\"\nkind = \"kannel\"\nurl = \"http://h/\"\nuser = \"u\"\npassword_env = \"PATH\"\n",
                "`a/b` is not",
            ),
            ("[[sms]]\nname = \"a\"\nkind = \"kannel\"\nurl = \"http://h/\"\n", "sendsms-user"),
            (
                "[[sms]]\nname = \"a\"\nkind = \"kannel\"\nurl = \"http://h/\"\nuser = \"u\"\npassword = \"p\"\n",
                "does not belong here",
            ),
            (
                "[[sms]]\nname = \"a\"\nkind = \"twilio\"\naccount = \"AC1\"\nauth_token_env = \"PATH\"\n",
                "either `from`",
            ),
            ("[[sms]]\nname = \"a\"\nkind = \"http\"\n", "needs a `url`"),
            ("[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://h/{{ two }}\"\n", "there is no `two`"),
            ("[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://{{ to }}/\"\n", "no URL"),
            ("[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://h/\"\nsuccess = [7]\n", "100 to 599"),
            ("[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://h/\"\nmetod = \"GET\"\n", "did you mean `method`"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|p| p.contains(told)), "{text}: {found:?}");
        }
        let open = "[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://192.0.2.1/\"\n";
        assert!(problems(open).iter().any(|p| p.contains("in the clear")), "{:?}", problems(open));
        for fine in [format!("{open}insecure = true\n"), open.replace("http://192.0.2.1", "http://[::1]:13013")] {
            assert_eq!(problems(&fine), [""; 0]);
        }
        let twice = "[[sms]]\nname = \"a\"\nkind = \"http\"\nurl = \"http://h/\"\n".repeat(2);
        assert!(problems(&twice).iter().any(|p| p.contains("already")), "{:?}", problems(&twice));
    }
}
