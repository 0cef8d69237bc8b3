//! A message of each protocol, viewed and written by every other.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use evergate_fuzz::contract::drive::{Answers, Driver};
use evergate_fuzz::contract::input::{Input, join};
use evergate_fuzz::contract::{amqp_bytes, mqtt_bytes, receive, seeds, stomp_bytes};
use evergate_model::{Address, Encoding, Message, Meta, Session};
use evergate_mqtt::codec::Version;
use libfuzzer_sys::fuzz_target;

/// More would only be slow.
const MESSAGES_MAX: usize = 4;

/// What a client of `session` publishes.
fn published<S: Session>(session: S, opening: &[u8], stream: &[u8], input: Input<'_>) -> Vec<Arc<Message>> {
    let silent = Input { script: &[], ..input };
    let mut driver = Driver::new(session, silent.choices());
    driver.receive(opening);
    driver.answer_all();
    driver.gateway.published.clear();
    driver.run(stream, &mut silent.choices(), Answers::Prompt);
    driver.gateway.published
}

/// Inputs to start from.
fn plant() {
    let mqtt = mqtt_bytes::seeds().into_iter().filter(|(_, bytes)| bytes[0] >> 4 == 3);
    let mqtt = mqtt.map(|(version, bytes)| join(if version == Version::V5 { 0 } else { 1 }, &[], &bytes));
    let stomp = stomp_bytes::seeds().into_iter().filter(|(_, bytes)| bytes.starts_with(b"SEND"));
    let stomp = stomp.map(|(_, bytes)| join(2, &[], &bytes));
    let amqp = amqp_bytes::messages().into_iter().map(|message| join(3, &[], &message));
    let plain = join(4, &[], b"\xff plain");
    let published: Vec<Vec<u8>> = mqtt.chain(stomp).chain(amqp).chain([plain]).collect();
    let consumed = |published: &Vec<u8>, versions: u8| [&[published[0] + versions * 5], &published[1..]].concat();
    seeds::plant([0, 4, 8].iter().flat_map(|versions| published.iter().map(|one| consumed(one, *versions))));
}

/// Plan: who publishes, and in which versions the others consume.
fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else { return };
    let messages = match input.plan % 5 {
        0 | 1 => {
            let version = if input.plan % 5 == 0 { Version::V5 } else { Version::V4 };
            let opening = mqtt_bytes::bytes(&mqtt_bytes::connect(version), version);
            published(mqtt_bytes::session(), &opening, input.stream, input)
        }
        2 => {
            let opening = stomp_bytes::connect(evergate_stomp::codec::Version::V1_2);
            published(stomp_bytes::session(), &opening, input.stream, input)
        }
        3 => {
            let mut opening = amqp_bytes::opening(false);
            let link = amqp_bytes::attach("s", 0, false, Some("/queue/q"), None, 0);
            opening.extend(amqp_bytes::framed(&amqp_bytes::records(&[link])));
            let transfer = amqp_bytes::frame(0, 0, &amqp_bytes::transfer(0, 0, false, false, input.stream));
            published(amqp_bytes::session(), &opening, &transfer, input)
        }
        _ => {
            let meta = Meta::new(Address::queue("q"));
            let body = Bytes::copy_from_slice(input.stream);
            vec![Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body))]
        }
    };
    messages.iter().take(MESSAGES_MAX).for_each(|message| receive::everywhere(message, input.plan / 5));
}

fuzz_target!(init: plant(), |data: &[u8]| run(data));
