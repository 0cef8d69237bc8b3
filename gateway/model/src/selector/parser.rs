//! The grammar: tokens to a [`Program`]. [JMS 2.0, 3.8.1.1]
//!
//! One token ahead always tells what follows, so that every error is final and points at the token
//! that does not fit. Only parentheses recurse.

use winnow::Parser;
use winnow::combinator::{alt, opt, repeat};
use winnow::stream::Stream;
use winnow::token::any;

use super::error::Fault;
use super::expression::{Arithmetic, Between, Comparison, Expression, Kind as Type, Name, Program};
use super::identifier::{Header, NOT_SELECTABLE};
use super::input::{self, Input, Parsed, accept, count, cut, expected, position, require, skip, token};
use super::lexer::{self, Keyword, Kind, Symbol, Token};
use super::like::Pattern;

/// ActiveMQ's prefix for messages whose properties are all text.
const CONVERT_PREFIX: &str = "convert_string_expressions:";

/// Compiles a text without white space around it.
pub(super) fn compile(text: &str) -> Result<Program, Fault> {
    let convert = text.starts_with(CONVERT_PREFIX);
    let tokens = lexer::tokens(text, if convert { CONVERT_PREFIX.len() } else { 0 })?;
    let mut input = input::input(text, &tokens);
    let root = whole(&mut input).map_err(|error| error.into_inner().unwrap_or_else(|_| Fault::new(0, "incomplete")))?;
    let (names, needs_view) = (input.state.names, input.state.needs_view);
    Ok(Program { root, convert, needs_view, names })
}

fn whole(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    if input.eof_offset() == 0 {
        return Ok(Expression::Bool(true));
    }
    let root = condition(input, disjunction)?;
    if input.eof_offset() > 0 {
        let what = if root.kind() == Type::Any { "an operator or the end" } else { "AND, OR or the end" };
        return Err(expected(input, what));
    }
    Ok(root)
}

fn disjunction(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    logical(input, Keyword::Or, conjunction, Expression::Or)
}

fn conjunction(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    logical(input, Keyword::And, negation, Expression::And)
}

/// `term`, or several with `keyword` between them.
fn logical(
    input: &mut Input<'_, '_>,
    keyword: Keyword,
    term: fn(&mut Input<'_, '_>) -> Parsed<Expression>,
    join: fn(Box<[Expression]>) -> Expression,
) -> Parsed<Expression> {
    let start = position(input);
    let first = term(input)?;
    if !accept(input, keyword)? {
        return Ok(first);
    }
    let mut terms = vec![checked_condition(first, start)?];
    loop {
        count(input, 1)?;
        terms.push(condition(input, term)?);
        if !accept(input, keyword)? {
            return Ok(join(terms.into()));
        }
    }
}

fn negation(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let nots: usize = repeat(0.., token(Keyword::Not)).parse_next(input)?;
    count(input, nots)?;
    if nots == 0 {
        return predicate(input);
    }
    let inner = Expression::Not(Box::new(condition(input, predicate)?));
    Ok(if nots % 2 == 1 { inner } else { Expression::Not(Box::new(inner)) })
}

fn predicate(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let start = position(input);
    let left = sum(input)?;
    if let Some(comparison) = opt(comparison).parse_next(input)? {
        return compare(input, left, comparison, start);
    }
    if accept(input, Keyword::Is)? {
        return is_null(input, &left, start);
    }
    let negated = accept(input, Keyword::Not)?;
    let test = alt((
        token(Keyword::Between).value(Keyword::Between),
        token(Keyword::In).value(Keyword::In),
        token(Keyword::Like).value(Keyword::Like),
    ));
    let found = match opt(test).parse_next(input)? {
        Some(Keyword::Between) => return between(input, left, start, negated),
        Some(Keyword::In) => in_list(input, &left, start)?,
        Some(_) => like(input, &left, start)?,
        None if negated => return Err(expected(input, "BETWEEN, IN or LIKE")),
        None => return Ok(left),
    };
    count(input, 1)?;
    Ok(if negated { Expression::Not(Box::new(found)) } else { found })
}

/// Text and booleans are equal or not; they have no order. [JMS 2.0, 3.8.1.1]
fn compare(input: &mut Input<'_, '_>, left: Expression, comparison: Comparison, start: usize) -> Parsed<Expression> {
    count(input, 1)?;
    let right_start = position(input);
    let right = sum(input)?;
    if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        for (side, start) in [(&left, start), (&right, right_start)] {
            if !side.is_numeric() {
                return Err(cut(start, "only numbers have an order; compare others with = or <>"));
            }
        }
    }
    Ok(Expression::Compare(Box::new((left, right)), comparison))
}

fn is_null(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    count(input, 1)?;
    let name = checked_name(left, start, "IS NULL needs a name before it")?;
    let negated = accept(input, Keyword::Not)?;
    require(input, Keyword::Null, if negated { "NULL" } else { "NULL or NOT NULL" })?;
    let found = Expression::IsNull(name);
    Ok(if negated { Expression::Not(Box::new(found)) } else { found })
}

fn between(input: &mut Input<'_, '_>, left: Expression, start: usize, negated: bool) -> Parsed<Expression> {
    count(input, 1)?;
    let value = checked_number(left, start)?;
    let low = numeric(input, sum)?;
    require(input, Keyword::And, "AND")?;
    let high = numeric(input, sum)?;
    Ok(Expression::Between(Box::new(Between { value, low, high, negated })))
}

fn in_list(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    let name = checked_name(left, start, "IN needs a name before it")?;
    require(input, Symbol::Open, "(")?;
    let mut list: Vec<Box<str>> = Vec::new();
    loop {
        count(input, 1)?;
        list.push(literal_text(input)?.0.into());
        if !accept(input, Symbol::Comma)? {
            break;
        }
    }
    require(input, Symbol::Close, ", or )")?;
    list.sort_unstable();
    list.dedup();
    Ok(Expression::In(name, list.into()))
}

fn like(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    let name = checked_name(left, start, "LIKE needs a name before it")?;
    let (pattern, pattern_start) = literal_text(input)?;
    let escape = if accept(input, Keyword::Escape)? {
        let (text, start) = literal_text(input)?;
        let mut chars = text.chars();
        let (Some(escape), None) = (chars.next(), chars.next()) else {
            return Err(cut(start, "ESCAPE needs one character"));
        };
        Some(escape)
    } else {
        None
    };
    let pattern = Pattern::new(pattern, escape).map_err(|error| cut(pattern_start, error))?;
    count(input, pattern.nodes())?;
    Ok(Expression::Like(name, pattern))
}

fn sum(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let operator = |input: &mut Input<'_, '_>| {
        alt((token(Symbol::Plus).value(Arithmetic::Add), token(Symbol::Minus).value(Arithmetic::Subtract)))
            .parse_next(input)
    };
    arithmetic(input, operator, product)
}

fn product(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let operator = |input: &mut Input<'_, '_>| {
        alt((token(Symbol::Star).value(Arithmetic::Multiply), token(Symbol::Slash).value(Arithmetic::Divide)))
            .parse_next(input)
    };
    arithmetic(input, operator, factor)
}

/// `term`, or several with operators of one precedence between them.
fn arithmetic(
    input: &mut Input<'_, '_>,
    operator: fn(&mut Input<'_, '_>) -> Parsed<Arithmetic>,
    term: fn(&mut Input<'_, '_>) -> Parsed<Expression>,
) -> Parsed<Expression> {
    let start = position(input);
    let first = term(input)?;
    let Some(mut next) = opt(operator).parse_next(input)? else { return Ok(first) };
    let first = checked_number(first, start)?;
    let mut rest = Vec::new();
    loop {
        count(input, 1)?;
        rest.push((next, numeric(input, term)?));
        match opt(operator).parse_next(input)? {
            Some(operator) => next = operator,
            None => return Ok(Expression::Arithmetic(Box::new(first), rest.into())),
        }
    }
}

/// A value with its signs. The sign belongs to a literal: the smallest `long` has no positive.
fn factor(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let (mut signed, mut negative) = (false, false);
    while let Some(minus) =
        opt(alt((token(Symbol::Minus).value(true), token(Symbol::Plus).value(false)))).parse_next(input)?
    {
        count(input, 1)?;
        signed = true;
        negative ^= minus;
    }
    let start = position(input);
    if let Some(Token { kind: Kind::Number(literal), .. }) = input.peek_token() {
        count(input, 1)?;
        skip(input)?;
        let number = literal.value(negative).ok_or_else(|| cut(start, "a number out of range"))?;
        return Ok(Expression::Number(number));
    }
    let value = primary(input)?;
    if !signed {
        return Ok(value);
    }
    let value = checked_number(value, start)?;
    Ok(if negative { Expression::Negative(Box::new(value)) } else { value })
}

fn primary(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    count(input, 1)?;
    let expression = match input.peek_token().map(|token| &token.kind) {
        Some(Kind::Symbol(Symbol::Open)) => return nested(input),
        Some(Kind::Text(text)) => Expression::Text((**text).into()),
        Some(Kind::Keyword(Keyword::True)) => Expression::Bool(true),
        Some(Kind::Keyword(Keyword::False)) => Expression::Bool(false),
        Some(Kind::Name(name)) => Expression::Name(named(input, name)?),
        Some(Kind::Keyword(Keyword::Null)) => {
            return Err(cut(position(input), "NULL is no value; it is tested with IS NULL"));
        }
        _ => return Err(expected(input, "a value")),
    };
    skip(input)?;
    Ok(expression)
}

fn nested(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    input::enter(input)?;
    let inner = disjunction(input)?;
    require(input, Symbol::Close, "an operator or )")?;
    input::leave(input);
    Ok(inner)
}

fn named(input: &mut Input<'_, '_>, name: &str) -> Parsed<Name> {
    if NOT_SELECTABLE.contains(&name) {
        return Err(cut(position(input), format!("{name} cannot be used in a selector")));
    }
    let name = Header::named(name).map_or_else(|| Name::Property(input.state.names.mention(name)), Name::Header);
    input.state.needs_view |= match name {
        Name::Header(header) => header.needs_view(),
        Name::Property(_) => true,
    };
    Ok(name)
}

/// A text literal and where it begins.
fn literal_text<'t>(input: &mut Input<'t, '_>) -> Parsed<(&'t str, usize)> {
    match input.peek_token() {
        Some(Token { kind: Kind::Text(text), start, .. }) => {
            skip(input)?;
            Ok((text, *start))
        }
        _ => Err(expected(input, "a text in single quotes")),
    }
}

fn comparison(input: &mut Input<'_, '_>) -> Parsed<Comparison> {
    any.verify_map(|token: &Token<'_>| match token.kind {
        Kind::Symbol(Symbol::Equal) => Some(Comparison::Equal),
        Kind::Symbol(Symbol::NotEqual) => Some(Comparison::NotEqual),
        Kind::Symbol(Symbol::Less) => Some(Comparison::Less),
        Kind::Symbol(Symbol::LessOrEqual) => Some(Comparison::LessOrEqual),
        Kind::Symbol(Symbol::Greater) => Some(Comparison::Greater),
        Kind::Symbol(Symbol::GreaterOrEqual) => Some(Comparison::GreaterOrEqual),
        _ => None,
    })
    .parse_next(input)
}

fn condition(input: &mut Input<'_, '_>, term: fn(&mut Input<'_, '_>) -> Parsed<Expression>) -> Parsed<Expression> {
    let start = position(input);
    checked_condition(term(input)?, start)
}

fn numeric(input: &mut Input<'_, '_>, term: fn(&mut Input<'_, '_>) -> Parsed<Expression>) -> Parsed<Expression> {
    let start = position(input);
    checked_number(term(input)?, start)
}

fn checked_condition(expression: Expression, start: usize) -> Parsed<Expression> {
    if expression.is_condition() { Ok(expression) } else { Err(cut(start, "expected a condition, found a value")) }
}

fn checked_number(expression: Expression, start: usize) -> Parsed<Expression> {
    if expression.is_numeric() { Ok(expression) } else { Err(cut(start, "expected a number")) }
}

fn checked_name(expression: &Expression, start: usize, reason: &'static str) -> Parsed<Name> {
    if let Expression::Name(name) = expression { Ok(*name) } else { Err(cut(start, reason)) }
}
