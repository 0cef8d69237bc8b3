//! How the other protocols read an AMQP message.

use std::borrow::Cow;

use evergate_model::{Address, AddressKind, Body, ContentReader, Format, Message, Value, View};

use super::annotations::{JMS_REPLY_TO, jms_kind, jms_number_in};
use super::json;
use super::large::BodyReader;
use super::sections::{
    APPLICATION_PROPERTIES, DATA, MESSAGE_ANNOTATIONS, PROPERTIES, Properties, SEQUENCE, Sections, VALUE, map,
};
use crate::codec::{Item, Reader};

/// A footer has been checked, and is no content.
const FOOTER_DEPTH_MAX: u32 = 0;

/// Reads [`evergate_model::Encoding::Amqp10`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Amqp10Format;

impl Format for Amqp10Format {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let (body, is_json) = body(&message.body);
        let mut view = View::new(body);
        let mut reply_kind = None;
        for section in Sections::new(&message.head).map_while(Result::ok) {
            match section.code {
                MESSAGE_ANNOTATIONS => reply_kind = jms_number_in(section.value, JMS_REPLY_TO).map(jms_kind),
                PROPERTIES => properties(&mut view, section.value, reply_kind),
                APPLICATION_PROPERTIES => application(&mut view, section.value),
                _ => {}
            }
        }
        if is_json {
            view.content_type = Some("application/json".into());
        }
        view
    }

    fn content(&self) -> Box<dyn ContentReader> {
        Box::new(BodyReader::new(FOOTER_DEPTH_MAX))
    }
}

fn properties<'a>(view: &mut View<'a>, value: &'a [u8], reply_kind: Option<AddressKind>) {
    let Ok(properties) = Properties::read(value) else { return };
    view.message_id = properties.message_id;
    view.correlation_id = properties.correlation_id;
    view.reply_to = properties.reply_to.map(|address| canonical(address, reply_kind));
    view.content_type = properties.content_type;
    view.content_encoding = properties.content_encoding;
    view.subject = properties.subject;
    view.group_id = properties.group_id;
    view.group_sequence = properties.group_sequence;
    view.reply_to_group_id = properties.reply_to_group_id;
    view.user_id = properties.user_id;
    view.creation_time = properties.creation_time;
}

/// `queue://x` is `/queue/x` to the others, and so is `x` if the message says that it is a queue's name.
fn canonical(address: Cow<'_, str>, kind: Option<AddressKind>) -> Cow<'_, str> {
    match (Address::parse(&address), kind) {
        (Some(_), _) if address.starts_with('/') => address,
        (Some((kind, name)), _) => Address { kind, name: name.into() }.to_string().into(),
        (None, Some(kind)) => Address { kind, name: (&*address).into() }.to_string().into(),
        (None, None) => address,
    }
}

fn application<'a>(view: &mut View<'a>, value: &'a [u8]) {
    let Ok(mut items) = map(value) else { return };
    while let (Some(Ok(key)), Some(Ok(value))) = (items.next(), items.next()) {
        if let (Item::Simple(Value::String(name)), Item::Simple(value)) = (key, value) {
            view.application.push((name, value));
        }
    }
}

/// The body, and whether it became JSON.
fn body(bytes: &[u8]) -> (Body<'_>, bool) {
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut sequence: Option<String> = None;
    for section in Sections::new(bytes).map_while(Result::ok) {
        let mut reader = Reader::new(section.value);
        match section.code {
            DATA => {
                if let Ok(Value::Binary(bytes)) = reader.simple() {
                    match &mut data {
                        None => data = Some(bytes),
                        Some(all) => all.to_mut().extend_from_slice(&bytes),
                    }
                }
            }
            SEQUENCE => {
                if let Ok(Item::List(items)) = reader.item() {
                    json::append_elements(sequence.get_or_insert_default(), items);
                }
            }
            VALUE => return value(reader),
            _ => {}
        }
    }
    match (data, sequence) {
        (None, Some(elements)) => (Body::Text(format!("[{elements}]").into()), true),
        (data, _) => (Body::Binary(data.unwrap_or_default()), false),
    }
}

fn value(mut reader: Reader<'_>) -> (Body<'_>, bool) {
    match reader.item() {
        Ok(Item::Simple(Value::String(text))) => (Body::Text(text), false),
        Ok(Item::Simple(Value::Binary(bytes))) => (Body::Binary(bytes), false),
        Ok(item) => (Body::Text(json::text(&item).into()), true),
        Err(_) => (Body::Binary(Cow::Borrowed(&[])), false),
    }
}
