//! Any text is a selector or an error of one line; a selector says the same each time, and never yes
//! together with its negation.
#![no_main]

use bytes::Bytes;
use evergate_fuzz::contract::seeds;
use evergate_model::{Address, Body, Encoding, Message, Meta, Selector, Value, View};
use libfuzzer_sys::fuzz_target;

const SEEDS: &[&str] = &[
    "colour = 'red' AND weight BETWEEN 3 AND 9",
    "JMSPriority > 4 OR NOT JMSDeliveryMode = 'PERSISTENT'",
    "colour NOT IN ('red', 'it''s') AND colour LIKE '%r!_%d' ESCAPE '!'",
    "-(weight + 2.5e3) * 0x1F / 017 - .5 <= 7. AND gone IS NOT NULL",
    "convert_string_expressions:text > 4 AND \"my-prop\" = TRUE",
    "((amqp.subject = 'car') = flag)",
    "weight NOT BETWEEN -9223372036854775808 AND huge / 0",
];

fn plant() {
    seeds::plant(
        SEEDS.iter().flat_map(|text| [[text.as_bytes(), b"\0red"].concat(), [text.as_bytes(), b"\0005"].concat()]),
    );
}

/// One property of each kind, `text` among them.
fn view(text: &str) -> View<'_> {
    let mut view = View::new(Body::Binary(b"".into()));
    view.subject = Some("car".into());
    view.correlation_id = Some(Value::Binary(text.as_bytes().into()));
    view.application = vec![
        ("colour".into(), Value::text(text)),
        ("text".into(), Value::text(text)),
        ("weight".into(), Value::Int(5)),
        ("huge".into(), Value::Ulong(u64::MAX)),
        ("least".into(), Value::Long(i64::MIN)),
        ("price".into(), Value::Double(9.5)),
        ("nan".into(), Value::Double(f64::NAN)),
        ("flag".into(), Value::Bool(true)),
        ("my-prop".into(), Value::text("true")),
        ("blob".into(), Value::Binary(b"x"[..].into())),
    ];
    view
}

/// The selector, then after a NUL the text of a property.
fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let property = String::from_utf8_lossy(data.get(end + 1..).unwrap_or_default());
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column()));
            assert!(!error.to_string().contains(['\n', '\r']));
            return;
        }
    };
    let message = Message::new(Meta::new(Address::queue("q")), Encoding::Plain, Bytes::new(), Bytes::new());
    let view = view(&property);
    let selected = selector.matches(&message, &view);
    let again = Selector::parse(selector.as_str()).expect("what was taken once is taken again");
    assert_eq!(again.matches(&message, &view), selected);
    // It may be too deep or too large by now.
    if let Ok(negation) = Selector::parse(&format!("NOT ({})", selector.as_str())) {
        assert!(!(selected && negation.matches(&message, &view)));
    }
}

fuzz_target!(init: plant(), |data: &[u8]| run(data));
