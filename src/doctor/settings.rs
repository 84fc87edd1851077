//! Settings and rules, as `ringfence check` finds them, and the certificates that the settings name.

use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::certificate::not_after;
use super::{Area, Report};
use crate::clock::Clock;
use crate::config::{Config, cross_check};
use crate::policy::{LoadOptions, RuleSource, load};

const WARN_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// Settings that can be read; `path` is their file.
pub(super) fn look(config: &Config, path: Option<&Path>, report: &mut Report) {
    let shown = path.map_or_else(|| "the built-in settings".to_owned(), |path| path.display().to_string());
    look_at_rules(config, &shown, report);
    look_at_certificates(config, report);
    report.ok(Area::Settings, format!("{shown}: no problems"));
}

fn look_at_rules(config: &Config, settings: &str, report: &mut Report) {
    let (source, shown) = match &config.rules {
        Some(path) if !path.exists() => {
            let what = format!("{settings}: rules: there is no `{}`", path.display());
            return report.error(Area::Rules, what, "name the folder of the rules as `rules` in the settings");
        }
        Some(path) => (RuleSource::at(path), path.display().to_string()),
        None => (RuleSource::shipped(), "the rules that ship".to_owned()),
    };
    let loaded = load(&source, LoadOptions { now: Some(Clock.now()) });
    let (n_errors, n_warnings) = (loaded.n_errors(), loaded.n_warnings());
    let first = |is_error: bool| {
        let first = loaded.problems.iter().find(|problem| problem.is_error == is_error);
        first.map(|problem| format!("{}: {}", problem.code, problem.message)).unwrap_or_default()
    };
    let mend = format!("ringfence check {shown}");
    if n_errors > 0 {
        let what =
            format!("{shown}: {n_errors} errors, the service would not start with them; the first: {}", first(true));
        report.error(Area::Rules, what, mend);
    } else if n_warnings > 0 {
        report.warning(Area::Rules, format!("{shown}: {n_warnings} warnings; the first: {}", first(false)), mend);
    }
    for mismatch in loaded.policy.iter().flat_map(|policy| cross_check(config, policy)) {
        let mend = "make settings and rules say the same";
        match mismatch.is_error {
            true => report.error(Area::Rules, mismatch.message, mend),
            false => report.warning(Area::Rules, mismatch.message, mend),
        }
    }
    let n_rules = loaded.policy.as_ref().map_or(0, |policy| policy.firewall.len() + policy.thresholds.len());
    report.ok(Area::Rules, format!("{shown}: {n_rules} rules, no problems"));
}

fn look_at_certificates(config: &Config, report: &mut Report) {
    let mut files = Vec::new();
    for feed in &config.feeds {
        if let Some(tls) = &feed.listener.tls {
            let of_feed = |file: &Path| (format!("feed `{}`", feed.name), file.to_owned());
            files.push(of_feed(&tls.cert_file));
            files.extend(tls.client_ca_file.as_deref().map(of_feed));
        }
    }
    let endpoints = config.notify.alertmanagers.iter().map(|endpoint| ("alertmanager".to_owned(), endpoint));
    let webhooks =
        config.notify.webhooks.iter().map(|(name, webhook)| (format!("webhook `{name}`"), &webhook.endpoint));
    files.extend(endpoints.chain(webhooks).filter_map(|(whose, endpoint)| Some((whose, endpoint.ca_file.clone()?))));
    files.sort();
    files.dedup();
    let n = files.len();
    for (whose, file) in files {
        look_at_file(&whose, &file, report);
    }
    if n > 0 {
        report.ok(Area::Certificates, format!("{n} files, none expires within {WARN_DAYS} days"));
    }
}

fn look_at_file(whose: &str, file: &Path, report: &mut Report) {
    let shown = file.display();
    let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    match read {
        Err(e) => report.error(Area::Certificates, format!("{whose}: {shown}: {e}"), "put a certificate in PEM there"),
        Ok(found) if found.is_empty() => {
            report.error(Area::Certificates, format!("{whose}: {shown}: no certificate in it"), "put one in PEM there");
        }
        Ok(found) => {
            // What cannot be read here is for TLS to refuse.
            let ends = found.iter().filter_map(|certificate| not_after(certificate)).min();
            tell_expiry(&format!("{whose}: {shown}"), ends.map(|end| end.0), report);
        }
    }
}

/// Also of certificates that a sink showed.
pub(super) fn tell_expiry(whose: &str, ends_ms: Option<i64>, report: &mut Report) {
    let Some(left_ms) = ends_ms.map(|end| end.saturating_sub(Clock.now().0)) else { return };
    let days = left_ms / DAY_MS;
    if left_ms <= 0 {
        report.error(Area::Certificates, format!("{whose}: expired {} days ago", -days), "put a new certificate there");
    } else if days < WARN_DAYS {
        report.warning(Area::Certificates, format!("{whose}: expires in {days} days"), "put a new certificate there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn certificates_that_end_are_told_before_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let days = |n: i64| {
            let text = Clock.now().plus_ms(n * DAY_MS).to_string();
            let part = |from: usize, to: usize| text.get(from..to).unwrap().parse::<i32>().unwrap();
            rcgen::date_time_ymd(part(0, 4), part(5, 7) as u8, part(8, 10) as u8)
        };
        for (name, ends) in [("old", -3), ("soon", 9), ("good", 90)] {
            let mut params = rcgen::CertificateParams::new(vec!["x.example".to_owned()]).unwrap();
            params.not_after = days(ends);
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), certificate.pem()).unwrap();
        }
        std::fs::write(folder.path().join("none"), "no certificate").unwrap();
        let mut report = Report::default();
        for name in ["old", "soon", "good", "none", "missing"] {
            look_at_file("feed `a`", &folder.path().join(name), &mut report);
        }
        let told = report.findings.iter().map(|finding| (finding.severity, finding.what.rsplit('/').next().unwrap()));
        let told: Vec<_> = told.collect();
        assert!(told[0].0 == Severity::Error && told[0].1.starts_with("old: expired "), "{told:?}");
        assert!(told[1].0 == Severity::Warning && told[1].1.starts_with("soon: expires in "), "{told:?}");
        assert_eq!(told[2], (Severity::Error, "none: no certificate in it"));
        let missing = &report.findings[3];
        assert!(missing.severity == Severity::Error && missing.what.contains("/missing: "), "{missing:?}");
        assert_eq!(told.len(), 4);
    }
}
