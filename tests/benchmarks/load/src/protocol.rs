//! What each protocol can do here.

use std::io;
use std::net::TcpStream;

use crate::{Consumer, Plan, Publisher, amqp, mqtt, stomp};

pub struct Protocol {
    pub publisher: fn(&Plan, u32) -> io::Result<Publisher>,
    pub consumer: fn(&Plan, u32) -> io::Result<Consumer>,
    /// Makes the queue of a pair, for messages that are consumed later.
    pub prepare: fn(&Plan, u32) -> io::Result<()>,
    /// One of many consumers of the first pair's topic.
    pub subscriber: Option<fn(&Plan, u32) -> io::Result<Consumer>>,
    /// A connection with subscriptions that match nothing.
    pub bystander: Option<fn(&Plan, u32) -> io::Result<TcpStream>>,
}

impl Protocol {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mqtt" => Self {
                publisher: mqtt::publisher,
                consumer: mqtt::consumer,
                prepare: mqtt::prepare,
                subscriber: Some(mqtt::subscriber),
                bystander: Some(mqtt::bystander),
            },
            "amqp" => Self {
                publisher: amqp::publisher,
                consumer: amqp::consumer,
                prepare: |_, _| Ok(()),
                subscriber: None,
                bystander: None,
            },
            "stomp" => Self {
                publisher: stomp::publisher,
                consumer: stomp::consumer,
                prepare: |_, _| Ok(()),
                subscriber: None,
                bystander: Some(stomp::bystander),
            },
            _ => return None,
        })
    }
}
