//! What a token may be used for, whatever its user may do.

/// One kind of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    /// Orders about incidents.
    Incidents,
    /// Drafting, checking, releasing.
    Messages,
    /// Users and tokens.
    Admin,
}

impl Scope {
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Incidents, Scope::Messages, Scope::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Incidents => "incidents",
            Scope::Messages => "messages",
            Scope::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A set of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub fn all() -> Scopes {
        Scopes(Scope::ALL.to_vec())
    }

    pub(super) fn new(scopes: &[Scope]) -> Scopes {
        Scopes(Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect())
    }

    /// What is not known gives no right.
    pub(super) fn parse(words: &[String]) -> Scopes {
        Scopes::new(&words.iter().filter_map(|word| Scope::parse(word)).collect::<Vec<_>>())
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(|scope| scope.as_str().to_owned()).collect()
    }

    /// Those of the words that are among these; without words, all of these but for managing people.
    pub(super) fn lend(&self, words: &[String], wrong: &mut Vec<String>) -> Scopes {
        if words.is_empty() {
            return Scopes(self.0.iter().copied().filter(|scope| *scope != Scope::Admin).collect());
        }
        for word in words {
            match Scope::parse(word) {
                None => {
                    let names = Scope::ALL.map(Scope::as_str).join(", ");
                    wrong.push(format!("scopes: there is no `{word}`; there are {names}"));
                }
                Some(scope) if !self.has(scope) => {
                    wrong.push(format!("scopes: you have no `{word}` yourself"));
                }
                Some(_) => {}
            }
        }
        Scopes::parse(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_lends_what_they_do_not_have() {
        let mine = Scopes::new(&[Scope::Read, Scope::Incidents]);
        let mut wrong = Vec::new();
        assert_eq!(mine.lend(&["read".into()], &mut wrong), Scopes::new(&[Scope::Read]));
        assert_eq!(wrong, [""; 0]);
        mine.lend(&["admin".into(), "fly".into()], &mut wrong);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(!Scopes::all().lend(&[], &mut wrong).has(Scope::Admin));
        assert_eq!(Scopes::parse(&["fly".into(), "read".into()]).words(), ["read"]);
    }
}
