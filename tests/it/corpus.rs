//! The fuzz corpus of rule files, replayed; those of the codecs are replayed beside the codecs.

use std::path::Path;

use ringfence::policy::{LoadOptions, RuleSource, load};

#[test]
fn every_rule_file_of_the_corpus_is_compiled_or_refused_with_reasons() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rules");
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is part of the project") {
        let path = entry.expect("a folder can be listed").path();
        let text = String::from_utf8(std::fs::read(&path).expect("a file can be read"));
        let Ok(text) = text else { continue };
        let loaded = load(&RuleSource::memory([("rules.toml", text)]), LoadOptions::default());
        let n_errors = loaded.problems.iter().filter(|problem| problem.is_error).count();
        assert_eq!(loaded.policy.is_none(), n_errors > 0, "{}", path.display());
        n_files += 1;
    }
    assert!(n_files > 0);
}
