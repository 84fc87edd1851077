//! What holds for any values and any kit: asked by tests and by the fuzz targets alike.

use super::{Fact, Facts, Form, Kind, Kits, Type, clean};
use crate::policy::RuleSource;

/// A kit of any text is read, or refused with reasons; one that is read can be filled.
pub fn a_kit_is_read_or_refused(text: &str) {
    let (kits, problems, _) = Kits::read(&RuleSource::memory([("kit.toml", text)]));
    assert_eq!(kits.is_none(), problems.iter().any(|problem| problem.is_error));
    for kit in kits.iter().flat_map(Kits::iter).filter(|kit| kit.path().is_some()) {
        assert!(kit.render(&kit.examples(|_| false)).is_ok());
    }
}

/// Every shipped kit, with a hostile text for every value: whatever goes out is whole, shows what it is, and opens no
/// tag; and what does not go out says why.
pub fn hostile_values_come_out_harmless(text: &str) {
    let kits = Kits::shipped();
    for kind in Kind::ALL {
        let kit = kits.get(kind);
        let mut facts = Facts::default();
        for variable in kit.variables() {
            facts.set(
                variable.name.as_str(),
                match variable.of {
                    Type::Text => Fact::text(text),
                    Type::Number => Fact::Number(text.len() as i64),
                    Type::Time => Fact::time(text, text),
                    Type::List => Fact::List(text.split(',').map(str::to_owned).collect()),
                },
            );
        }
        let (forms, lints) = kit.draw(&facts);
        for form in Form::ALL {
            assert_eq!(clean::unfit(forms.get(form), form.has_lines()), None, "{kind:?} {form:?}");
            assert!(!forms.get(form).contains("<script"), "{kind:?} {form:?}");
        }
        match kit.render(&facts) {
            Ok(sent) => assert!(sent == forms && !forms.lints().iter().any(|lint| lint.is_error)),
            Err(reasons) => assert!(reasons == lints && reasons.iter().any(|lint| lint.is_error)),
        }
    }
}
