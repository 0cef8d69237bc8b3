//! A compiled selector over a message, in SQL's three-valued logic.

use std::borrow::Cow;

use super::expression::{Between, Comparison, Expression, Name, Program};
use super::operand::{Operand, Truth};
use crate::{Message, Value, View};

/// Up to so many mentions, properties are looked for one by one; beyond, all are found in one pass, so
/// that the time is not mentions times properties.
const MENTIONS_LOOKED_UP_MAX: usize = 16;

/// What the gateway adds is a message annotation in AMQP; its name begins with this there.
const AMQP_ANNOTATION_PREFIX: &str = "x-opt-";

/// One evaluation.
pub(super) struct Environment<'a> {
    program: &'a Program,
    message: &'a Message,
    view: Option<&'a View<'a>>,
    /// By slot; empty if properties are looked for one by one.
    found: Vec<Option<&'a Value<'a>>>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(program: &'a Program, message: &'a Message, view: Option<&'a View<'a>>) -> Self {
        let mut found = Vec::new();
        if let Some(view) = view.filter(|_| program.names.mentions > MENTIONS_LOOKED_UP_MAX) {
            found.resize(program.names.list.len(), None);
            for (name, value) in &view.application {
                if let Some(slot) = program.names.slots.get(&**name) {
                    found[*slot].get_or_insert(value);
                }
            }
        }
        Self { program, message, view, found }
    }

    /// What the selector says of the message.
    pub(super) fn truth(&self) -> Truth {
        self.condition(&self.program.root)
    }

    /// The value of a name. Of properties with one name, the first; the gateway's own annotations come before the
    /// publisher's properties, as they do on the wire.
    fn named(&self, name: Name) -> Operand<'a> {
        let slot = match name {
            Name::Header(header) => return header.value(self.message, self.view),
            Name::Property(slot) => slot,
        };
        let wanted = &*self.program.names.list[slot];
        if let Some(annotation) = self.annotation(wanted) {
            return Operand::text(annotation);
        }
        let value = if self.found.is_empty() {
            self.view.and_then(|view| view.application.iter().find(|(name, _)| name == wanted).map(|(_, value)| value))
        } else {
            self.found[slot]
        };
        value.map_or(Operand::Null, Operand::of)
    }

    /// What the gateway added under this name, or under the one that it has in AMQP. Few messages have any.
    fn annotation(&self, wanted: &str) -> Option<&'a str> {
        let annotations = &self.message.annotations;
        if annotations.is_empty() {
            return None;
        }
        let name = wanted.strip_prefix(AMQP_ANNOTATION_PREFIX).unwrap_or(wanted);
        annotations.iter().find(|annotation| &*annotation.name == name).map(|annotation| &*annotation.value)
    }

    fn value(&self, expression: &'a Expression) -> Operand<'a> {
        let convert = self.program.convert;
        match expression {
            Expression::Number(number) => Operand::Number(*number),
            Expression::Text(text) => Operand::Text(Cow::Borrowed(text)),
            Expression::Name(name) => self.named(*name),
            Expression::Negative(inner) => self.value(inner).negated(convert),
            Expression::Arithmetic(first, rest) => {
                let first = self.value(first);
                rest.iter().fold(first, |left, (operator, right)| left.computed(*operator, &self.value(right), convert))
            }
            Expression::Bool(_)
            | Expression::Compare(..)
            | Expression::Between(_)
            | Expression::In(..)
            | Expression::Like(..)
            | Expression::IsNull(_)
            | Expression::Not(_)
            | Expression::And(_)
            | Expression::Or(_) => self.condition(expression).map_or(Operand::Null, Operand::Bool),
        }
    }

    fn condition(&self, expression: &'a Expression) -> Truth {
        match expression {
            Expression::Bool(truth) => Some(*truth),
            Expression::Compare(sides, comparison) => self.compare(&sides.0, *comparison, &sides.1),
            Expression::Between(between) => self.between(between),
            Expression::In(name, list) => {
                text_matches(&self.named(*name), |text| list.binary_search_by(|member| (**member).cmp(text)).is_ok())
            }
            Expression::Like(name, pattern) => text_matches(&self.named(*name), |text| pattern.matches(text)),
            Expression::IsNull(name) => Some(self.named(*name) == Operand::Null),
            Expression::Not(inner) => self.condition(inner).map(|truth| !truth),
            Expression::And(terms) => self.all(terms, true),
            Expression::Or(terms) => self.all(terms, false),
            Expression::Number(_)
            | Expression::Text(_)
            | Expression::Name(_)
            | Expression::Negative(_)
            | Expression::Arithmetic(..) => self.value(expression).truth(self.program.convert),
        }
    }

    /// AND if `wanted`, OR if not: the first term that is otherwise decides; else one that is unknown
    /// makes all unknown. [JMS 2.0, tables 3-4 and 3-5]
    fn all(&self, terms: &'a [Expression], wanted: bool) -> Truth {
        let mut all = Some(wanted);
        for term in terms {
            match self.condition(term) {
                Some(truth) if truth == wanted => {}
                Some(truth) => return Some(truth),
                None => all = None,
            }
        }
        all
    }

    fn compare(&self, left: &'a Expression, comparison: Comparison, right: &'a Expression) -> Truth {
        self.value(left).compared(comparison, &self.value(right), self.program.convert)
    }

    /// `value >= low AND value <= high`; negated, `value < low OR value > high`: not the same if the
    /// value is text, of which both are false. [JMS 2.0, 3.8.1.1]
    fn between(&self, between: &'a Between) -> Truth {
        let value = self.value(&between.value);
        let compared = |comparison, bound| value.compared(comparison, &self.value(bound), self.program.convert);
        let wanted = !between.negated;
        let (low, high) = if wanted {
            (compared(Comparison::GreaterOrEqual, &between.low), compared(Comparison::LessOrEqual, &between.high))
        } else {
            (compared(Comparison::Less, &between.low), compared(Comparison::Greater, &between.high))
        };
        match (low, high) {
            (Some(truth), _) | (_, Some(truth)) if truth != wanted => Some(truth),
            (Some(_), Some(_)) => Some(wanted),
            _ => None,
        }
    }
}

/// Unknown if the value is missing, false if it is no text.
fn text_matches(value: &Operand<'_>, matches: impl FnOnce(&str) -> bool) -> Truth {
    match value {
        Operand::Null => None,
        Operand::Text(text) => Some(matches(text)),
        Operand::Bool(_) | Operand::Number(_) | Operand::Other => Some(false),
    }
}
