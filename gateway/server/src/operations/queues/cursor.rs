//! How many messages an answer concerns, where it begins if it has not all, and where the next one goes on.

use evergate_core::PeekFrom;
use evergate_model::Seq;
use serde::Deserialize;
use serde_json::Value;

/// `from` of a request: a place, as a number; or the text that an earlier answer gave as `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Cursor(PeekFrom);

impl Default for Cursor {
    fn default() -> Self {
        Self(PeekFrom::Place(Seq(0)))
    }
}

impl From<Cursor> for PeekFrom {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

impl TryFrom<Value> for Cursor {
    type Error = &'static str;

    fn try_from(given: Value) -> Result<Self, Self::Error> {
        let from = match &given {
            Value::Number(number) => number.as_u64().map(|place| PeekFrom::Place(Seq(place))),
            Value::String(text) => behind(text),
            _ => None,
        };
        from.map(Self).ok_or("from is a place, as a number, or the text that an earlier answer gave as next")
    }
}

/// Messages in one request or answer, at most.
pub const COUNT_MAX: usize = 1000;

/// `count` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Count(pub usize);

impl Default for Count {
    fn default() -> Self {
        Self(COUNT_MAX)
    }
}

impl TryFrom<usize> for Count {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, Self::Error> {
        let fits = (1..=COUNT_MAX).contains(&count);
        fits.then_some(Self(count)).ok_or_else(|| format!("count is a number of messages from 1 to {COUNT_MAX}"))
    }
}

fn behind(text: &str) -> Option<PeekFrom> {
    let (priority, seq) = text.split_once('/')?;
    let priority = priority.parse().ok().filter(|priority| *priority <= 9)?;
    Some(PeekFrom::Behind { priority, seq: Seq(seq.parse().ok()?) })
}

/// Puts `next` into an answer, if there is more.
pub fn tell_next(answer: &mut Value, next: Option<PeekFrom>) {
    if let Some(next) = next {
        answer["next"] = match next {
            PeekFrom::Place(seq) => seq.0.into(),
            PeekFrom::Behind { priority, seq } => format!("{priority}/{}", seq.0).into(),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_answer_tells_is_taken_by_the_next_request() {
        for from in [PeekFrom::Place(Seq(7)), PeekFrom::Behind { priority: 9, seq: Seq(u64::MAX) }] {
            let mut answer = json!({});
            tell_next(&mut answer, Some(from));
            assert_eq!(serde_json::from_value::<Cursor>(answer["next"].take()).unwrap(), Cursor(from));
        }
        let mut answer = json!({});
        tell_next(&mut answer, None);
        assert_eq!(answer, json!({}));
    }

    #[test]
    fn a_count_that_no_answer_can_have_is_refused() {
        for right in [1, 1000] {
            assert_eq!(serde_json::from_value::<Count>(json!(right)).unwrap(), Count(right));
        }
        for wrong in [0, 1001] {
            let error = serde_json::from_value::<Count>(json!(wrong)).unwrap_err();
            assert!(error.to_string().contains("from 1 to 1000"), "{error}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in
            [json!(-1), json!(1.5), json!("7"), json!("10/7"), json!("4/"), json!("4/x"), json!(null), json!([1])]
        {
            let error = serde_json::from_value::<Cursor>(wrong.clone()).unwrap_err();
            assert!(error.to_string().starts_with("from is a place"), "{wrong}");
        }
    }
}
