//! What is wrong with a message, or may become so: told to whoever drafts it, before it goes out.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::forms::Form;

/// One finding. A message with an error does not go out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// Stable, explained in [`super::codes`].
    pub code: &'static str,
    pub is_error: bool,
    /// The form it is about; none where it is about a value.
    pub form: Option<Form>,
    pub variable: Option<String>,
    pub message: String,
    pub help: Option<&'static str>,
    /// Bytes of the form's template.
    #[serde(skip)]
    pub(crate) range: Option<Range<usize>>,
}

impl Lint {
    pub(crate) fn error(code: &'static str, form: Form, message: impl Into<String>) -> Lint {
        let message = message.into();
        Lint { code, is_error: true, form: Some(form), variable: None, message, help: None, range: None }
    }

    pub(crate) fn warning(code: &'static str, form: Form, message: impl Into<String>) -> Lint {
        Lint { is_error: false, ..Lint::error(code, form, message) }
    }

    /// About a value, whatever form shows it.
    pub(crate) fn of_value(code: &'static str, variable: &str, message: impl Into<String>) -> Lint {
        let is_error = code.starts_with('E');
        let variable = Some(variable.to_owned());
        Lint { code, is_error, form: None, variable, message: message.into(), help: None, range: None }
    }

    pub(crate) fn help(self, help: &'static str) -> Lint {
        Lint { help: Some(help), ..self }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.form, &self.variable) {
            (Some(form), _) => write!(f, "{}: {}", form.as_str(), self.message)?,
            (None, Some(variable)) => write!(f, "`{variable}` {}", self.message)?,
            (None, None) => f.write_str(&self.message)?,
        }
        self.help.map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}
