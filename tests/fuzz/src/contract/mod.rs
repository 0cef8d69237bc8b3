//! Targets that check what they see: a gateway that holds sessions to their contract, sessions whose
//! outcome must not depend on how their input is cut, consumers whose messages must arrive whole.

pub mod amqp_bytes;
pub mod amqp_decode;
pub mod drive;
pub mod gateway;
pub mod input;
pub mod mqtt_bytes;
pub mod receive;
pub mod seeds;
pub mod stomp_bytes;
