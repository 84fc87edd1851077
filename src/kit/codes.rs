//! What the codes of kits mean. `E201`-`E219` are mistakes that keep a kit or a message from going out, `W2xx` what to
//! look at.

use crate::policy::codes::Code;

const fn code(code: &'static str, title: &'static str, explanation: &'static str) -> Code {
    Code { code, title, explanation }
}

/// Kits and the messages made of them.
pub const KITS: &[Code] = &[
    code(
        "E201",
        "template cannot be read",
        "Texts take {{ name }}, {% if name %}, {% for item in list %} and the filters default, join and shorten; nothing else, so that a text can be read by whoever checks it.",
    ),
    code(
        "E202",
        "variable not declared",
        "A text uses a name that [variables] does not declare. Where it was missing, it would have left a hole in the message.",
    ),
    code(
        "E203",
        "nobody gives this variable",
        "The incident book hands over a fixed set of facts. A kit may add constants of its own with `fixed`.",
    ),
    code(
        "E204",
        "declared otherwise than it is",
        "The type of a variable, and whether a person types it, are those of the fact it stands for.",
    ),
    code(
        "E205",
        "form leaves out what it must say",
        "Every form says the incident or case number, what is known as of when, what to do, when the reader hears again, and whom to call.",
    ),
    code(
        "E206",
        "free text in a kit that goes out unchecked",
        "The holding kit is checked once, when it is written, and goes out where nobody answers; so nobody's words of the moment may stand in it.",
    ),
    code(
        "E207",
        "too long",
        "An SMS has one part of 160 septets, an announcement 20 seconds, a subject one short line. What a person typed has the length its variable allows.",
    ),
    code(
        "E208",
        "telephone number on a public form",
        "Portal and announcement are public: they name the escalation contact's number and nobody else's.",
    ),
    code(
        "E209",
        "characters that do not show",
        "Line breaks in a subject, control characters and marks that turn the direction of writing make a text read otherwise than it was checked.",
    ),
    code(
        "E210",
        "text cannot be made",
        "The template was stopped: it prints what was not given, computes for too long, or makes too much.",
    ),
    code("E211", "value missing or of another type", "The kit requires a value that was not given as it needs it."),
    code("E212", "empty form", "A form without words would be sent, or said, as nothing."),
    code("W201", "variable is never used", "A variable is declared and no form shows it."),
    code(
        "W202",
        "SMS not in the GSM alphabet",
        "One character outside the GSM alphabet makes the whole SMS UCS-2, with 70 units a part.",
    ),
    code(
        "W203",
        "may become too long",
        "With the examples the form fits, with the longest values its variables allow it does not. `shorten` cuts a value for one form: {{ what|shorten(40) }}.",
    ),
    code(
        "W205",
        "announcement a little long",
        "With the values of the moment it takes more than 20 seconds to say. It may go out; past 25 seconds it may not.",
    ),
    code("W204", "value was cut", "A value was longer than its variable allows and ends with `...`."),
];
