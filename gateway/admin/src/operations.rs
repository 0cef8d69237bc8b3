//! What the administration can do, by name: `queue.list`, `policy.put`. The registry serves requests by message
//! (`_ADMIN`). Each subsystem registers its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One thing that the administration can do.
#[async_trait]
pub trait Operation: Send + Sync {
    /// Does it. The result is JSON.
    async fn run(&self, arguments: Value, by: &Operator) -> Result<Value, OperationError>;

    /// One line for people: what it does and its arguments.
    fn describe(&self) -> &'static str;
}

/// Who asks for an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// The name that the client gave itself; may be empty.
    pub client_id: Arc<str>,
    /// The account; empty where there are none.
    pub user: Arc<str>,
}

/// Why an operation was not carried out. Nothing changed, unless its text says what did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// There is no such operation, queue, connection; text for people.
    NotFound(String),
    /// The request makes no sense; text for people.
    Invalid(String),
    /// A limit or a state of the gateway says no; text for people.
    Refused(String),
    /// The gateway is stopping, or its journal failed.
    Unavailable,
}

impl OperationError {
    /// The word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not-found",
            Self::Invalid(_) => "invalid",
            Self::Refused(_) => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Invalid(text) | Self::Refused(text) => f.write_str(text),
            Self::Unavailable => f.write_str("the gateway cannot do this now"),
        }
    }
}

/// Reads an operation's arguments; what is wrong with them is told with the field's name.
pub fn arguments<T: DeserializeOwned>(arguments: Value) -> Result<T, OperationError> {
    let given = if arguments.is_null() { json!({}) } else { arguments };
    // Without names, values would be taken by their order.
    if !given.is_object() {
        return Err(OperationError::Invalid("args is a JSON object: values stand under their names".into()));
    }
    serde_json::from_value(given).map_err(|error| OperationError::Invalid(error.to_string()))
}

/// The arguments of an operation that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// A request: `{"op": "queue.list", "args": {…}}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: String,
    #[serde(default)]
    args: Value,
}

fn request(body: &[u8]) -> Result<Request, String> {
    let given: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if !given.is_object() {
        return Err("this is none".into());
    }
    serde_json::from_value(given).map_err(|error| error.to_string())
}

/// The answer: what came of it on this node.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

/// Everything that the administration can do.
#[derive(Clone, Default)]
pub struct Operations {
    by_name: BTreeMap<&'static str, Arc<dyn Operation>>,
}

impl Operations {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &'static str, operation: impl Operation + 'static) -> Self {
        self.by_name.insert(name, Arc::new(operation));
        self
    }

    /// Carries out the request in `body` and says what came of it. Whatever the body holds, there is an answer.
    pub async fn answer(&self, body: &[u8], by: &Operator) -> String {
        let result = match request(body) {
            Err(error) => Err(OperationError::Invalid(format!(
                "a request is a JSON object {{\"op\": \"queue.list\", \"args\": {{…}}}}: {error}"
            ))),
            Ok(Request { op, args }) => self.run(&op, args, by).await,
        };
        let answer = match result {
            Ok(result) => Answer { ok: true, result: Some(result), error: None },
            Err(error) => {
                let error = json!({ "code": error.code(), "text": error.to_string() });
                Answer { ok: false, result: None, error: Some(error) }
            }
        };
        // Plain JSON values: this cannot fail.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// Carries out one operation.
    pub async fn run(&self, name: &str, arguments: Value, by: &Operator) -> Result<Value, OperationError> {
        if name == "help" {
            let NoArguments {} = self::arguments(arguments)?;
            let lines: BTreeMap<_, _> = self.by_name.iter().map(|(name, one)| (*name, one.describe())).collect();
            return Ok(json!(lines));
        }
        match self.by_name.get(name) {
            Some(operation) => operation.run(arguments, by).await,
            None => Err(OperationError::NotFound(format!("there is no operation {name}; help lists them"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Twice {
        number: u32,
    }

    struct Double;

    #[async_trait]
    impl Operation for Double {
        async fn run(&self, given: Value, _by: &Operator) -> Result<Value, OperationError> {
            let Twice { number } = arguments(given)?;
            let doubled = number.checked_mul(2).ok_or_else(|| OperationError::Refused("too large".into()))?;
            Ok(json!(doubled))
        }

        fn describe(&self) -> &'static str {
            "twice the number {number}"
        }
    }

    async fn ask(body: &str) -> Value {
        let operations = Operations::default().with("double", Double);
        serde_json::from_str(&operations.answer(body.as_bytes(), &Operator::default()).await).unwrap()
    }

    #[tokio::test]
    async fn a_request_is_answered_with_its_result() {
        assert_eq!(ask(r#"{"op":"double","args":{"number":21}}"#).await, json!({"ok": true, "result": 42}));
        let help = json!({"ok": true, "result": {"double": "twice the number {number}"}});
        assert_eq!(ask(r#"{"op":"help"}"#).await, help);
    }

    #[tokio::test]
    async fn whatever_is_asked_there_is_an_answer_that_says_what_was_wrong() {
        let table = [
            ("", "invalid", "a request is a JSON object"),
            ("{\"op\"", "invalid", "EOF"),
            (r#"{"op":"treble"}"#, "not-found", "there is no operation treble"),
            (r#"{"op":"double"}"#, "invalid", "missing field `number`"),
            (r#"{"op":"double","args":{"numbr":1}}"#, "invalid", "unknown field `numbr`"),
            (r#"{"op":"double","args":{"number":4294967295}}"#, "refused", "too large"),
            (r#"{"op":"double","argument":{}}"#, "invalid", "unknown field `argument`"),
            (r#"["double",{"number":1}]"#, "invalid", "a request is a JSON object"),
            (r#"{"op":"double","args":[1]}"#, "invalid", "args is a JSON object"),
            (r#"{"op":"help","args":{"op":"double"}}"#, "invalid", "unknown field `op`"),
        ];
        for (body, code, text) in table {
            let answer = ask(body).await;
            assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!(code)), "{body}");
            assert!(answer["error"]["text"].as_str().unwrap().contains(text), "{body}: {answer}");
        }
    }
}
