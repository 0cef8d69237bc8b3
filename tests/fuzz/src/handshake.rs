//! Bytes that bring a client of each protocol to the point where it consumes from the queue `q`.

/// CONNECT (version 5, clean start, no client id), SUBSCRIBE to `$queue/q` at QoS 1.
pub const MQTT: &[u8] = b"\x10\x0d\0\x04MQTT\x05\x02\0\0\0\0\0\x82\x0e\0\x01\0\0\x08$queue/q\x01";

/// CONNECT, SUBSCRIBE.
pub const STOMP: &[u8] =
    b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0SUBSCRIBE\nid:1\ndestination:/queue/q\nack:auto\n\n\0";

/// Protocol header, open, begin, attach as receiver, flow with credit.
pub const AMQP: &[u8] = b"AMQP\0\x01\0\0\
    \0\0\0\x11\x02\0\0\0\0\x53\x10\xc0\x04\x01\xa1\x01a\
    \0\0\0\x1a\x02\0\0\0\0\x53\x11\xc0\x0d\x04\x40\x43\x70\x7f\xff\xff\xff\x70\x7f\xff\xff\xff\
    \0\0\0\x29\x02\0\0\0\0\x53\x12\xc0\x1c\x07\xa1\x01a\x43\x41\x40\x40\0\x53\x28\xc0\x0b\x01\xa1\x08/queue/q\0\x53\x29\x45\
    \0\0\0\x21\x02\0\0\0\0\x53\x13\xc0\x14\x07\x43\x70\x7f\xff\xff\xff\x43\x70\x7f\xff\xff\xff\x43\x43\x70\x7f\xff\xff\xff";
