//! A model of events and of the part of the expression language that the random rules use: each piece can be
//! printed as a gateway or an analyst would write it, and evaluated by reading the specification literally.
//! Shares nothing with `src/`.

/// One event as the model sees it. What is `None` is absent from the line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub time_ms: i64,
    /// How the time stands in the line.
    pub time_text: String,
    pub kind: Option<&'static str>,
    pub customer: Option<&'static str>,
    pub call_id: Option<String>,
    pub caller: Option<String>,
    pub callee: Option<String>,
    pub trunk: Option<&'static str>,
    pub account: Option<&'static str>,
    pub source_ip: Option<&'static str>,
    pub domain: Option<&'static str>,
    pub direction: Option<&'static str>,
    pub status: Option<&'static str>,
    pub sip_code: Option<i64>,
    pub auth_failed: Option<bool>,
    pub duration: Option<Seconds>,
    pub ring: Option<Seconds>,
    pub setup: Option<Seconds>,
    /// Bytes of a field no rule knows, to spread few events over many blocks.
    pub padding: usize,
}

/// A decimal number of seconds, in tenths of a millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub i64);

impl Seconds {
    /// Half a millisecond and more counts as a whole one.
    pub(crate) fn ms(self) -> i64 {
        (self.0 + 5) / 10
    }

    fn text(self) -> String {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Event {
    pub(crate) fn kind(&self) -> &'static str {
        self.kind.unwrap_or("cdr")
    }

    pub(crate) fn customer(&self) -> &'static str {
        self.customer.filter(|c| !c.is_empty()).unwrap_or("default")
    }

    /// The line a gateway would send; `turn` rotates the order of the fields.
    pub(crate) fn line(&self, turn: usize) -> String {
        let text = |name: &str, value: &str| format!("\"{name}\":{}", serde_json::Value::from(value));
        let mut fields = vec![format!("\"time\":{}", self.time_text)];
        let texts = [
            ("kind", self.kind),
            ("customer", self.customer),
            ("call_id", self.call_id.as_deref()),
            ("caller", self.caller.as_deref()),
            ("callee", self.callee.as_deref()),
            ("trunk", self.trunk),
            ("account", self.account),
            ("source_ip", self.source_ip),
            ("domain", self.domain),
            ("direction", self.direction),
            ("status", self.status),
        ];
        fields.extend(texts.iter().filter_map(|(name, value)| value.map(|v| text(name, v))));
        let seconds = [("duration", self.duration), ("ring", self.ring), ("setup", self.setup)];
        fields.extend(seconds.iter().filter_map(|(name, value)| value.map(|v| format!("\"{name}\":{}", v.text()))));
        fields.extend(self.sip_code.map(|v| format!("\"sip_code\":{v}")));
        fields.extend(self.auth_failed.map(|v| format!("\"auth_failed\":{v}")));
        if self.padding > 0 {
            fields.push(format!("\"vendor\":{{\"note\":\"{}\",\"n\":[1,{{}}]}}", "x".repeat(self.padding)));
        }
        let n = fields.len();
        fields.rotate_left(turn % n);
        format!("{{{}}}", fields.join(if turn.is_multiple_of(5) { " , " } else { "," }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Customer,
    Caller,
    Callee,
    Trunk,
    Account,
    SourceIp,
    Domain,
    Direction,
    Status,
    SipCode,
    Duration,
    Ring,
    Setup,
    Answered,
    AuthFailed,
}

impl Field {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Customer => "customer",
            Field::Caller => "caller",
            Field::Callee => "callee",
            Field::Trunk => "trunk",
            Field::Account => "account",
            Field::SourceIp => "source_ip",
            Field::Domain => "domain",
            Field::Direction => "direction",
            Field::Status => "status",
            Field::SipCode => "sip_code",
            Field::Duration => "duration",
            Field::Ring => "ring",
            Field::Setup => "setup",
            Field::Answered => "answered",
            Field::AuthFailed => "auth_failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    Text(String),
    /// Integers, booleans and milliseconds.
    Int(i64),
}

/// `field`, `prefix(field, n)` or `len(field)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Field(Field),
    Prefix(Field, usize),
    Len(Field),
}

impl Operand {
    pub(crate) fn text(&self) -> String {
        match self {
            Operand::Field(field) => field.name().to_owned(),
            Operand::Prefix(field, n) => format!("prefix({}, {n})", field.name()),
            Operand::Len(field) => format!("len({})", field.name()),
        }
    }

    /// `None` is absent.
    pub(crate) fn value(&self, event: &Event) -> Option<Value> {
        match self {
            Operand::Field(field) => field_value(*field, event),
            Operand::Prefix(field, n) => match field_value(*field, event)? {
                Value::Text(number) if number.starts_with('+') => Some(Value::Text(prefix(&number, *n))),
                _ => None,
            },
            Operand::Len(field) => match field_value(*field, event)? {
                Value::Text(number) => Some(Value::Int(number.trim_start_matches('+').len() as i64)),
                Value::Int(_) => None,
            },
        }
    }
}

/// `+4670123` cut to 4 digits is `+4670*`; a number that is no longer stays as it is.
fn prefix(number: &str, n: usize) -> String {
    if number.len() - 1 <= n {
        number.to_owned()
    } else {
        format!("{}*", number.chars().take(n + 1).collect::<String>())
    }
}

fn field_value(field: Field, event: &Event) -> Option<Value> {
    let text = |t: Option<&str>| t.filter(|t| !t.is_empty()).map(|t| Value::Text(t.to_owned()));
    let word = |t: Option<&str>| Some(Value::Text(t.unwrap_or("unknown").to_owned()));
    let time = |t: Option<Seconds>| t.map(|t| Value::Int(t.ms()));
    match field {
        Field::Customer => text(Some(event.customer())),
        Field::Caller => text(event.caller.as_deref()),
        Field::Callee => text(event.callee.as_deref()),
        Field::Trunk => text(event.trunk),
        Field::Account => text(event.account),
        Field::SourceIp => text(event.source_ip),
        Field::Domain => text(event.domain),
        Field::Direction => word(event.direction),
        Field::Status => word(event.status),
        Field::SipCode => event.sip_code.map(Value::Int),
        Field::Duration => time(event.duration),
        Field::Ring => time(event.ring),
        Field::Setup => time(event.setup),
        Field::Answered => Some(Value::Int(i64::from(event.status == Some("answered")))),
        Field::AuthFailed => event.auth_failed.map(|b| Value::Int(i64::from(b))),
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A number or an enum word, as written.
    Word(String),
    /// A text, quoted when written.
    Text(String),
    /// `+46?01*`
    Pattern(String),
    Range(String, String),
}

impl Item {
    fn text(&self) -> String {
        match self {
            Item::Word(word) | Item::Pattern(word) => word.clone(),
            Item::Text(text) => format!("\"{text}\""),
            Item::Range(from, to) => format!("{from}..{to}"),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Item::Word(word) | Item::Text(word) => value == word,
            Item::Pattern(pattern) => pattern_matches(pattern.as_bytes(), value.as_bytes()),
            Item::Range(from, to) => {
                value.len() == from.len() && from.as_str() <= value && value <= to.as_str() && value.starts_with('+')
            }
        }
    }
}

pub(crate) fn pattern_matches(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern.split_first(), value.split_first()) {
        (Some((b'*', [])), _) => value.iter().all(u8::is_ascii_digit),
        (Some((b'?', pattern)), Some((digit, value))) => digit.is_ascii_digit() && pattern_matches(pattern, value),
        (Some((a, pattern)), Some((b, value))) => a == b && pattern_matches(pattern, value),
        (None, None) => true,
        _ => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Compare {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Compare::Equal => "==",
            Compare::Unequal => "!=",
            Compare::Less => "<",
            Compare::AtMost => "<=",
            Compare::More => ">",
            Compare::AtLeast => ">=",
        }
    }

    pub(crate) fn holds<T: Ord>(self, a: T, b: T) -> bool {
        match self {
            Compare::Equal => a == b,
            Compare::Unequal => a != b,
            Compare::Less => a < b,
            Compare::AtMost => a <= b,
            Compare::More => a > b,
            Compare::AtLeast => a >= b,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// `answered`, `auth_failed`.
    Flag(Field),
    /// `==` and `!=`.
    Is(Operand, Compare, Item),
    In {
        operand: Operand,
        not: bool,
        items: Vec<Item>,
    },
    /// `ring < 6s`
    Time(Operand, Compare, i64),
    Integer(Operand, Compare, i64),
    Listed(Operand, &'static str),
}

/// Is the value on the list of this name?
pub(crate) type Lists<'a> = dyn Fn(&str, &Value) -> bool + 'a;

impl Expr {
    pub(crate) fn text(&self) -> String {
        let inner = |e: &Expr| match e {
            Expr::All(_) | Expr::Any(_) => format!("({})", e.text()),
            _ => e.text(),
        };
        let join = |parts: &[Expr], word: &str| parts.iter().map(inner).collect::<Vec<_>>().join(word);
        match self {
            Expr::All(parts) => join(parts, " and "),
            Expr::Any(parts) => join(parts, " or "),
            Expr::Not(part) => format!("not {}", inner(part)),
            Expr::Flag(field) => field.name().to_owned(),
            Expr::Is(operand, compare, item) => format!("{} {} {}", operand.text(), compare.text(), item.text()),
            Expr::In { operand, not, items } => {
                let items = items.iter().map(Item::text).collect::<Vec<_>>().join(", ");
                format!("{} {}in {{{items}}}", operand.text(), if *not { "not " } else { "" })
            }
            Expr::Time(operand, compare, ms) => format!("{} {} {}", operand.text(), compare.text(), duration_text(*ms)),
            Expr::Integer(operand, compare, n) => format!("{} {} {n}", operand.text(), compare.text()),
            Expr::Listed(operand, list) => format!("{} in ${list}", operand.text()),
        }
    }

    pub(crate) fn holds(&self, event: &Event, lists: &Lists<'_>) -> bool {
        match self {
            Expr::All(parts) => parts.iter().all(|p| p.holds(event, lists)),
            Expr::Any(parts) => parts.iter().any(|p| p.holds(event, lists)),
            Expr::Not(part) => !part.holds(event, lists),
            Expr::Flag(field) => field_value(*field, event) == Some(Value::Int(1)),
            Expr::Is(operand, compare, item) => {
                let equal = matches!(operand.value(event), Some(Value::Text(v)) if item.matches(&v));
                equal == (*compare == Compare::Equal)
            }
            Expr::In { operand, not, items } => {
                let found = matches!(operand.value(event), Some(Value::Text(v)) if items.iter().any(|i| i.matches(&v)));
                found != *not
            }
            Expr::Time(operand, compare, limit) | Expr::Integer(operand, compare, limit) => {
                match operand.value(event) {
                    Some(Value::Int(v)) => compare.holds(v, *limit),
                    _ => *compare == Compare::Unequal,
                }
            }
            Expr::Listed(operand, list) => operand.value(event).is_some_and(|v| lists(list, &v)),
        }
    }
}

/// `1m30s`, `250ms`, `0s`.
pub(crate) fn duration_text(ms: i64) -> String {
    let (minutes, seconds, rest) = (ms / 60_000, ms / 1_000 % 60, ms % 1_000);
    let mut text = String::new();
    for (n, unit) in [(minutes, "m"), (seconds, "s"), (rest, "ms")] {
        if n > 0 {
            text += &format!("{n}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
