//! The form of whole files: what it is, that it is reached in one step, and that it changes nothing else.

use proptest::prelude::*;

use super::super::{LoadOptions, RuleSource, load};
use super::*;

fn check(text: &str, wanted: &str) {
    let found = format(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(found, wanted);
    assert_eq!(format(wanted).as_deref(), Ok(wanted), "the form of the form is itself");
}

#[test]
fn spacing_quotes_and_commas_get_their_form_and_comments_stay() {
    check(
        "\n\n  # rules of the house   \nringfence=1 #version\ndefault_action   = 'allow'\n\n\n\n[ lists ]\n\
         own={type='number',items=[ \"+4670*\",'+4673*' , ]}\n# the firewall\n[[ firewall ]]   # first\n\tid = 'fw'\n\
         when=\"direction==inbound and domain == 'x'\"\nexcept = [{where=\"not( anonymous )\",reason='x'},]",
        "# rules of the house\nringfence = 1 #version\ndefault_action = \"allow\"\n\n[lists]\n\
         own = { type = \"number\", items = [\"+4670*\", \"+4673*\"] }\n\n# the firewall\n[[firewall]]     # first\nid = \"fw\"\n\
         when = \"direction==inbound and domain == 'x'\"\nexcept = [{ where = 'not (anonymous)', reason = \"x\" }]\n",
    );
}

#[test]
fn a_condition_in_double_quotes_gets_single_ones_where_it_can() {
    check("when = \"a  ==  \\\"x\\\"\"\n", "when = 'a == \"x\"'\n");
    check("[macros]\na = \"b==c\"\n", "[macros]\na = 'b == c'\n");
    check("macros.a = \"b==c\"\n", "macros.a = 'b == c'\n");
    check("description = 'a  \"b\"'\n", "description = 'a  \"b\"'\n");
    check("when = 'cut in the middle =='\n", "when = 'cut in the middle =='\n");
    check("measure = 'share( duration<10s )'\n", "measure = \"share( duration<10s )\"\n");
}

#[test]
fn what_its_author_broke_stays_broken_line_by_line() {
    check(
        "items = [ # all\n\"a\",  'b',\n\n    # more\n'c' # last\n]\nnext=[\n]\nt = [ [1,2], [\n3 ] ]\n",
        "items = [ # all\n  \"a\", \"b\",\n  # more\n  \"c\", # last\n]\nnext = [\n]\nt = [[1, 2], [\n  3,\n]]\n",
    );
    check(
        "calls = [\n{at='0s',every = \"1s\"},\n{ at = '60s' }]\n",
        "calls = [\n  { at = \"0s\", every = \"1s\" },\n  { at = \"60s\" },\n]\n",
    );
}

#[test]
fn a_row_of_comments_stays_a_row() {
    check(
        "ringfence=1              # version\ndefault_action = 'allow' # where no rule decides\n",
        "ringfence = 1            # version\ndefault_action = \"allow\" # where no rule decides\n",
    );
    let aligned = "id = \"a\"       # one\nmode = \"off\"   # two\n";
    check(aligned, aligned);
}

#[test]
fn headers_stand_apart_with_their_comments() {
    check(
        "[a]\nx = 1\n[b]\n# of c\n# too\n[c]\n\n# free\n\n[d]\n",
        "[a]\nx = 1\n\n[b]\n\n# of c\n# too\n[c]\n\n# free\n\n[d]\n",
    );
}

#[test]
fn literals_keep_their_spelling_and_line_ends_become_plain() {
    check(
        "a = 2026-12-24 10:00:00\r\nb = +1_000.5\r\n'c d'.e = [ true ,inf ]\r\nf = '''\r\n  x\r\n'''\r\n",
        "a = 2026-12-24 10:00:00\nb = +1_000.5\n'c d'.e = [true, inf]\nf = '''\n  x\n'''\n",
    );
    check("", "");
    check("\n\n", "");
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    assert!(format("a = 1\nwhere = direction == inbound\n").unwrap_err().starts_with("line 2: "));
}

/// Every rule file of the project, the broken ones among the tests' too.
fn files(folder: &str, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(path.to_str().unwrap(), found);
        } else if path.extension().is_some_and(|e| e == "toml") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_form_of_every_rule_file_means_the_same_and_is_its_own_form() {
    let mut all = Vec::new();
    ["rules", "tests/data/rules", "deploy"].iter().for_each(|folder| files(folder, &mut all));
    let mut n = 0;
    for (path, text) in all {
        let Ok(formatted) = format(&text) else { continue };
        assert_eq!(format(&formatted).as_ref(), Ok(&formatted), "{path}");
        let comments = |text: &str| text.matches('#').count();
        assert_eq!(comments(&text), comments(&formatted), "{path}");
        n += 1;
    }
    assert!(n > 30, "{n} files");
}

#[test]
fn the_policy_is_the_same_before_and_after() {
    let load = |form: &dyn Fn(&str) -> String| {
        let mut all = Vec::new();
        files("tests/data/rules/valid/all-keys", &mut all);
        let inside = |path: &str| path.trim_start_matches("tests/data/rules/valid/all-keys/").to_owned();
        let mut files: Vec<_> = all.into_iter().map(|(path, text)| (inside(&path), form(&text))).collect();
        for entry in std::fs::read_dir("tests/data/rules/valid/all-keys/lists").into_iter().flatten() {
            let path = entry.unwrap().path();
            files.push((inside(path.to_str().unwrap()), std::fs::read_to_string(&path).unwrap()));
        }
        let loaded = load(&RuleSource::memory(files), LoadOptions::default());
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        // All but the version, which is of the bytes.
        let shown = format!("{:?} {:?} {:?}", policy.firewall, policy.thresholds, policy.keys);
        (shown, policy.version)
    };
    let rough = |text: &str| text.replace(" = ", "  =  ").replace(", ", " ,");
    let (before, version) = load(&rough);
    let (after, other) = load(&|text| format(&rough(text)).unwrap());
    assert_eq!(before, after);
    assert_ne!(version, other, "the form of this file differs, or this shows nothing");
}

proptest! {
    #[test]
    fn any_text_is_refused_or_gets_a_form_that_means_the_same(
        pieces in prop::collection::vec(prop::sample::select(&[
            "a", "=", " ", "\n", "[", "]", "{", "}", ",", "# c", "'x'", "\"y\"", "1", ".", "when", "'a  ==1'", "\r\n",
            "'''m\n'''", "[[t]]\n", "macros", "k = 1\n", "k2 = [\n1,\n# c\n2]\n", "w = { a = 1, b = [ ] }\n", "\t", "å = 1\n",
        ][..]), 0..24),
    ) {
        let text = pieces.concat();
        if let Ok(formatted) = format(&text) {
            let values = |text: &str| text.parse::<Table>().map(Value::Table);
            prop_assert!(is_same(&values(&text).unwrap(), &values(&formatted).unwrap()));
            prop_assert_eq!(format(&formatted), Ok(formatted.clone()), "{:?}", text);
        } else {
            prop_assert!(text.parse::<Table>().is_err(), "{:?} is TOML and has no form", text);
        }
    }
}
