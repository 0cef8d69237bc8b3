//! A compiled selector: a tree of bounded depth and size.

use std::collections::HashMap;

use super::identifier::Header;
use super::like::Pattern;
use super::number::Number;

/// What a selector compiles to.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Expression,
    /// Texts that look like numbers or booleans compare as such.
    pub(super) convert: bool,
    /// Some name is not found in `Meta`.
    pub(super) needs_view: bool,
    pub(super) names: Names,
}

/// The application properties that a selector names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order of their first mention.
    pub(super) list: Vec<Box<str>>,
    /// Where in the list.
    pub(super) slots: HashMap<Box<str>, usize>,
    /// How often any of them is mentioned.
    pub(super) mentions: usize,
}

impl Names {
    /// The slot of a name that is mentioned.
    pub(super) fn mention(&mut self, name: &str) -> usize {
        self.mentions += 1;
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = self.list.len();
        self.list.push(name.into());
        self.slots.insert(name.into(), slot);
        slot
    }
}

/// A node. Chains of one operator are one node, so that only parentheses make a tree deep.
#[derive(Debug, PartialEq)]
pub(super) enum Expression {
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Name(Name),
    Negative(Box<Expression>),
    /// From left to right.
    Arithmetic(Box<Expression>, Box<[(Arithmetic, Expression)]>),
    Compare(Box<(Expression, Expression)>, Comparison),
    Between(Box<Between>),
    /// The texts in order.
    In(Name, Box<[Box<str>]>),
    Like(Name, Pattern),
    IsNull(Name),
    Not(Box<Expression>),
    And(Box<[Expression]>),
    Or(Box<[Expression]>),
}

/// What an identifier stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Header(Header),
    /// By its slot in [`Names`].
    Property(usize),
}

/// `value [NOT] BETWEEN low AND high`.
#[derive(Debug, PartialEq)]
pub(super) struct Between {
    pub(super) value: Expression,
    pub(super) low: Expression,
    pub(super) high: Expression,
    pub(super) negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What can be said of an expression's type before there is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name: its value has a type.
    Any,
    Number,
    Text,
    Condition,
}

impl Expression {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Name(_) => Kind::Any,
            Self::Number(_) | Self::Negative(_) | Self::Arithmetic(..) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Bool(_)
            | Self::Compare(..)
            | Self::Between(_)
            | Self::In(..)
            | Self::Like(..)
            | Self::IsNull(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_) => Kind::Condition,
        }
    }

    pub(super) fn is_numeric(&self) -> bool {
        matches!(self.kind(), Kind::Any | Kind::Number)
    }

    pub(super) fn is_condition(&self) -> bool {
        matches!(self.kind(), Kind::Any | Kind::Condition)
    }
}
