//! Values in an expression: what can be compared with what, and how numbers are reckoned with.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::COMPARED_BYTES_MAX;
use super::expression::{Arithmetic, Comparison};
use super::number::{self, Number};
use crate::Value;

/// A value while an expression is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand<'a> {
    /// Missing, or the result of arithmetic that has none.
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// There, but comparable with nothing: binary, decimal, a very long text.
    Other,
}

/// True, false, or unknown (`None`).
pub(super) type Truth = Option<bool>;

impl<'a> Operand<'a> {
    /// A text of the message.
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        if text.len() > COMPARED_BYTES_MAX { Self::Other } else { Self::Text(text) }
    }

    pub(super) fn exact(number: impl Into<i64>) -> Self {
        Self::Number(Number::Exact(number.into()))
    }

    /// A time in milliseconds, or a count, that began as an unsigned number.
    pub(super) fn unsigned(number: u64) -> Self {
        #[allow(clippy::cast_precision_loss)] // beyond long, the nearest double
        Self::Number(i64::try_from(number).map_or(Number::Approximate(number as f64), Number::Exact))
    }

    /// A property's value as JMS's types have it.
    pub(super) fn of(value: &'a Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(v) => Self::Bool(*v),
            Value::Ubyte(v) => Self::exact(*v),
            Value::Ushort(v) => Self::exact(*v),
            Value::Uint(v) => Self::exact(*v),
            Value::Ulong(v) => Self::unsigned(*v),
            Value::Byte(v) => Self::exact(*v),
            Value::Short(v) => Self::exact(*v),
            Value::Int(v) => Self::exact(*v),
            Value::Long(v) | Value::Timestamp(v) => Self::exact(*v),
            Value::Float(v) => Self::Number(Number::Approximate((*v).into())),
            Value::Double(v) => Self::Number(Number::Approximate(*v)),
            Value::String(v) | Value::Symbol(v) => Self::text(&**v),
            Value::Char(_) | Value::Uuid(_) => Self::text(value.to_text()),
            Value::Binary(_) | Value::Decimal32(_) | Value::Decimal64(_) | Value::Decimal128(_) => Self::Other,
        }
    }

    /// The number that this is, or with `convert` the one that its text looks like.
    fn number(&self, convert: bool) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) if convert => number::from_text(text),
            _ => None,
        }
    }

    /// What this is where a condition is wanted: a boolean. Anything else is unknown.
    pub(super) fn truth(&self, convert: bool) -> Truth {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Text(text) if convert => bool_from_text(text),
            _ => None,
        }
    }

    /// `-self`; null where there is none.
    pub(super) fn negated(&self, convert: bool) -> Operand<'static> {
        self.number(convert).and_then(Number::negated).map_or(Operand::Null, Operand::Number)
    }

    /// `self operator right`; null where there is none.
    pub(super) fn computed(&self, operator: Arithmetic, right: &Operand<'_>, convert: bool) -> Operand<'static> {
        let result = || self.number(convert)?.computed(operator, right.number(convert)?);
        result().map_or(Operand::Null, Operand::Number)
    }

    /// `self comparison right`. Unknown if either is null. Values of unlike types compare as false,
    /// whatever the operator; text and booleans have no order. [JMS 2.0, 3.8.1.1]
    pub(super) fn compared(&self, comparison: Comparison, right: &Operand<'_>, convert: bool) -> Truth {
        Some(match (self, right) {
            (Self::Null, _) | (_, Operand::Null) => return None,
            (Self::Number(left), Operand::Number(right)) => comparison.holds(left.compare(*right)),
            (Self::Text(left), Operand::Text(right)) if !comparison.is_order() => comparison.holds_equal(left == right),
            (Self::Bool(left), Operand::Bool(right)) => comparison.holds_equal(left == right),
            (left, right) if convert => {
                if let (Some(left), Some(right)) = (left.number(true), right.number(true)) {
                    comparison.holds(left.compare(right))
                } else if let (Some(left), Some(right)) = (left.truth(true), right.truth(true)) {
                    comparison.holds_equal(left == right)
                } else {
                    false
                }
            }
            _ => false,
        })
    }
}

fn bool_from_text(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

impl Comparison {
    fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether it holds of two numbers so ordered; `None` is a comparison with not-a-number.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }

    /// Whether it holds of two values that can only be equal or not.
    fn holds_equal(self, equal: bool) -> bool {
        match self {
            Self::Equal => equal,
            Self::NotEqual => !equal,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => false,
        }
    }
}
