//! Numbers: their literals, as Java writes them, and their arithmetic.

use std::cmp::Ordering;

use super::expression::Arithmetic;

/// JMS's two kinds of number, Java's `long` and `double`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Exact(i64),
    Approximate(f64),
}

impl Number {
    #[allow(clippy::cast_precision_loss)] // Java's numeric promotion: the nearest double
    fn approximate(self) -> f64 {
        match self {
            Self::Exact(number) => number as f64,
            Self::Approximate(number) => number,
        }
    }

    /// `None`: one of them is not a number.
    pub(super) fn compare(self, right: Self) -> Option<Ordering> {
        match (self, right) {
            (Self::Exact(left), Self::Exact(right)) => Some(left.cmp(&right)),
            (left, right) => left.approximate().partial_cmp(&right.approximate()),
        }
    }

    /// `None`: it does not fit.
    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Exact(number) => number.checked_neg().map(Self::Exact),
            Self::Approximate(number) => Some(Self::Approximate(-number)),
        }
    }

    /// Exact if both are, approximate otherwise. `None`: a division by zero, or an exact result that
    /// does not fit.
    pub(super) fn computed(self, operator: Arithmetic, right: Self) -> Option<Self> {
        if let (Self::Exact(left), Self::Exact(right)) = (self, right) {
            let result = match operator {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_div(right),
            };
            return result.map(Self::Exact);
        }
        let (left, right) = (self.approximate(), right.approximate());
        Some(Self::Approximate(match operator {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide if right == 0.0 => return None,
            Arithmetic::Divide => left / right,
        }))
    }
}

/// A literal, its sign not yet known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Literal {
    /// Decimal digits: 2⁶³ is allowed after a minus sign only.
    Decimal(u64),
    /// Hexadecimal, octal, binary (two's complement), or approximate.
    Signed(Number),
}

impl Literal {
    /// `None`: out of range.
    pub(super) fn value(self, negative: bool) -> Option<Number> {
        match self {
            Self::Decimal(magnitude) if negative => 0i64.checked_sub_unsigned(magnitude).map(Number::Exact),
            Self::Decimal(magnitude) => i64::try_from(magnitude).ok().map(Number::Exact),
            Self::Signed(number) if negative => number.negated(),
            Self::Signed(number) => Some(number),
        }
    }
}

/// Why a word that begins like a number is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LiteralError {
    Malformed,
    OutOfRange,
}

/// A numeric literal in Java's syntax: `57`, `57L`, `0x1F`, `017`, `0b11`, `1_000`, `7.`, `.5`, `7E3`, `2f`.
pub(super) fn literal(word: &str) -> Result<Literal, LiteralError> {
    let digits = without_underscores(word).ok_or(LiteralError::Malformed)?;
    let lower = digits.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return radix(hex, 16);
    }
    if let Some(binary) = lower.strip_prefix("0b") {
        return radix(binary, 2);
    }
    if lower.contains(['.', 'e', 'f', 'd']) {
        return approximate(&lower);
    }
    match lower.strip_prefix('0') {
        Some(octal) if !octal.is_empty() && octal != "l" => radix(octal, 8),
        _ => match whole(lower.strip_suffix('l').unwrap_or(&lower), 10)? {
            magnitude if magnitude <= i64::MIN.unsigned_abs() => Ok(Literal::Decimal(magnitude)),
            _ => Err(LiteralError::OutOfRange),
        },
    }
}

/// Java allows `_` between digits.
fn without_underscores(word: &str) -> Option<String> {
    let mut digits = String::with_capacity(word.len());
    let mut after_underscore = false;
    for c in word.chars() {
        if c == '_' {
            after_underscore = digits.ends_with(|c: char| c.is_ascii_hexdigit());
            if !after_underscore {
                return None;
            }
        } else if after_underscore && !c.is_ascii_hexdigit() {
            return None;
        } else {
            after_underscore = false;
            digits.push(c);
        }
    }
    (!after_underscore).then_some(digits)
}

fn whole(digits: &str, radix: u32) -> Result<u64, LiteralError> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(LiteralError::Malformed);
    }
    u64::from_str_radix(digits, radix).map_err(|_| LiteralError::OutOfRange)
}

/// As Java's `long` literals: 64 bits, the highest of which is the sign.
fn radix(digits: &str, radix: u32) -> Result<Literal, LiteralError> {
    let bits = whole(digits.strip_suffix('l').unwrap_or(digits), radix)?;
    Ok(Literal::Signed(Number::Exact(bits.cast_signed())))
}

/// A suffix `f` makes it a `float`, so that it equals the same `float` in a property.
fn approximate(lower: &str) -> Result<Literal, LiteralError> {
    let single = lower.strip_suffix('f');
    let digits = single.or(lower.strip_suffix('d')).unwrap_or(lower);
    if !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-')) {
        return Err(LiteralError::Malformed);
    }
    let number = match single {
        Some(digits) => digits.parse::<f32>().map(f64::from),
        None => digits.parse::<f64>(),
    };
    match number {
        Ok(number) if number.is_finite() => Ok(Literal::Signed(Number::Approximate(number))),
        Ok(_) => Err(LiteralError::OutOfRange),
        Err(_) => Err(LiteralError::Malformed),
    }
}

/// The number that a property's text looks like: decimal digits with a sign, a point, an exponent.
pub(super) fn from_text(text: &str) -> Option<Number> {
    if let Ok(exact) = text.parse() {
        return Some(Number::Exact(exact));
    }
    // Not the words inf and nan, which Rust would take.
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric { text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::Approximate) } else { None }
}
