//! Selectors against what JMS says of them.

use crate::{Address, Body, Encoding, Formats, Message, Meta, Selector, Value, View};

#[test]
fn a_selector_selects_by_headers_and_properties() {
    let mut meta = Meta::new(Address::queue("orders"));
    meta.priority = 7;
    let message = Message::new(meta, Encoding::Plain, bytes::Bytes::new(), bytes::Bytes::new());
    let mut view = View::new(Body::Binary(b"".into()));
    view.application = vec![("colour".into(), Value::text("red")), ("weight".into(), Value::Int(5))];
    for (text, selected) in [
        ("colour = 'red' AND weight BETWEEN 3 AND 9", true),
        ("colour = 'blue' OR weight > 5.0", false),
        ("size > 3 OR colour LIKE 'r_%'", true),
        ("NOT (size > 3)", false),
    ] {
        assert_eq!(Selector::parse(text).unwrap().matches(&message, &view), selected, "{text}");
    }
    assert!(Selector::parse("JMSPriority > 4").unwrap().matches_with(&message, &Formats::default()));
}
