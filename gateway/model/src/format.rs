//! How one protocol's encoding of a message is read by the others.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Message, Value};

/// Which protocol's encoding `Message::head` and `Message::body` are in. Stored in the journal:
/// numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// No head; the body is the payload. What the gateway itself publishes, and MQTT 3.1.1 too.
    Plain = 0,
    /// AMQP 1.0. Head: bare-message sections before the body, as sent (message-annotations,
    /// properties, application-properties). Body: body sections and footer, as sent.
    Amqp10 = 1,
    /// MQTT 5. Head: the publish properties that travel, as sent, without their length. Body: payload.
    Mqtt5 = 2,
    /// STOMP. Head: header lines as sent in 1.2 escaping, `\n` after each. Body: body.
    Stomp = 3,
}

impl Encoding {
    /// How many encodings there are.
    pub const COUNT: usize = 4;

    /// The encoding stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Plain,
            1 => Self::Amqp10,
            2 => Self::Mqtt5,
            3 => Self::Stomp,
            _ => return None,
        })
    }
}

/// A body as the hub sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// Bytes whose meaning the content type tells.
    Binary(Cow<'a, [u8]>),
    /// Text, known to be UTF-8.
    Text(Cow<'a, str>),
}

impl Body<'_> {
    /// The bytes, whichever it is.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

/// A message in the hub's vocabulary, borrowed from the publisher's encoding. What is in `Meta`
/// (durable, priority, expiry, address) is not repeated here.
#[derive(Clone, Debug, PartialEq)]
pub struct View<'a> {
    /// The publisher's own id: uuid, ulong, binary or string.
    pub message_id: Option<Value<'a>>,
    /// Same types as the message id.
    pub correlation_id: Option<Value<'a>>,
    /// Canonical address (`/queue/…`, `/topic/…`) where the publisher named one of ours, else as written.
    pub reply_to: Option<Cow<'a, str>>,
    /// MIME type.
    pub content_type: Option<Cow<'a, str>>,
    /// MIME content encoding.
    pub content_encoding: Option<Cow<'a, str>>,
    /// AMQP subject, JMSType.
    pub subject: Option<Cow<'a, str>>,
    /// Message group.
    pub group_id: Option<Cow<'a, str>>,
    /// Place in the group.
    pub group_sequence: Option<u32>,
    /// Group that replies should carry.
    pub reply_to_group_id: Option<Cow<'a, str>>,
    /// The publisher's user, as it says.
    pub user_id: Option<Value<'a>>,
    /// Milliseconds since 1970.
    pub creation_time: Option<i64>,
    /// Application properties in the publisher's order.
    pub application: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The body.
    pub body: Body<'a>,
}

impl<'a> View<'a> {
    /// A view with nothing but a body.
    pub fn new(body: Body<'a>) -> Self {
        Self {
            message_id: None,
            correlation_id: None,
            reply_to: None,
            content_type: None,
            content_encoding: None,
            subject: None,
            group_id: None,
            group_sequence: None,
            reply_to_group_id: None,
            user_id: None,
            creation_time: None,
            application: Vec::new(),
            body,
        }
    }

    /// Takes a property that an encoding had to carry as text under its model name (`message-id`,
    /// `subject`, …). True: it was one of those that the encoding has no place for and is now in its
    /// field. False: it is an application property.
    #[allow(clippy::ptr_arg)] // a borrowed text stays borrowed: &str would copy it
    pub fn take_named(&mut self, name: &str, text: &Cow<'a, str>) -> bool {
        match name {
            "message-id" => self.message_id = Some(Value::String(text.clone())),
            "correlation-id" => self.correlation_id = Some(Value::String(text.clone())),
            "reply-to" => self.reply_to = Some(text.clone()),
            "content-type" => self.content_type = Some(text.clone()),
            "content-encoding" => self.content_encoding = Some(text.clone()),
            "subject" => self.subject = Some(text.clone()),
            "group-id" => self.group_id = Some(text.clone()),
            "reply-to-group-id" => self.reply_to_group_id = Some(text.clone()),
            "user-id" => self.user_id = Some(Value::String(text.clone())),
            "group-sequence" => match text.parse() {
                Ok(number) => self.group_sequence = Some(number),
                Err(_) => return false,
            },
            "creation-time" => match text.parse() {
                Ok(millis) => self.creation_time = Some(millis),
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    }

    /// Every property that is set and that `has_place` refuses, as text under its model name: what an
    /// encoding carries among its user properties or headers.
    pub fn homeless(&self, has_place: impl Fn(&str) -> bool) -> Vec<(&'static str, Cow<'_, str>)> {
        let texts = [
            ("message-id", self.message_id.as_ref().map(Value::to_text)),
            ("correlation-id", self.correlation_id.as_ref().map(Value::to_text)),
            ("reply-to", self.reply_to.as_deref().map(Cow::Borrowed)),
            ("content-type", self.content_type.as_deref().map(Cow::Borrowed)),
            ("content-encoding", self.content_encoding.as_deref().map(Cow::Borrowed)),
            ("subject", self.subject.as_deref().map(Cow::Borrowed)),
            ("group-id", self.group_id.as_deref().map(Cow::Borrowed)),
            ("group-sequence", self.group_sequence.map(|n| n.to_string().into())),
            ("reply-to-group-id", self.reply_to_group_id.as_deref().map(Cow::Borrowed)),
            ("user-id", self.user_id.as_ref().map(Value::to_text)),
            ("creation-time", self.creation_time.map(|n| n.to_string().into())),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text?))).filter(|(name, _)| !has_place(name)).collect()
    }
}

/// Reads one encoding. Implemented by each protocol; stateless.
pub trait Format: Send + Sync {
    /// The message in the hub's vocabulary. The head was checked when it was published, so this never
    /// fails: what cannot be read is left out.
    fn view<'a>(&self, message: &'a Message) -> View<'a>;

    /// For one body that comes in pieces, from its beginning. As it is here: the encoding has no framing.
    fn content(&self) -> Box<dyn ContentReader> {
        Box::new(Unframed)
    }
}

/// Takes the content of one large body out of its publisher's framing, piece by piece, in order. In all it gives
/// as many bytes as [`crate::LargeBody::payload_bytes`] says. The body was checked when it was published.
pub trait ContentReader: Send {
    /// Hands the content of the next piece to `take`, without a copy; nothing if the piece is all framing.
    fn read(&mut self, piece: &Bytes, take: &mut dyn FnMut(Bytes));
}

/// The content of a body without framing.
struct Unframed;

impl ContentReader for Unframed {
    fn read(&mut self, piece: &Bytes, take: &mut dyn FnMut(Bytes)) {
        take(piece.clone());
    }
}

/// The formats of this gateway, one a protocol. Sessions share it to read each other's messages.
#[derive(Clone, Copy, Default)]
pub struct Formats {
    table: [Option<&'static dyn Format>; Encoding::COUNT],
}

impl std::fmt::Debug for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Formats")
    }
}

impl Formats {
    /// Adds the reader of `encoding`.
    #[must_use]
    pub fn with(mut self, encoding: Encoding, format: &'static dyn Format) -> Self {
        self.table[encoding as usize] = Some(format);
        self
    }

    /// The message in the hub's vocabulary: by its format, or as a plain body.
    pub fn view<'a>(&self, message: &'a Message) -> View<'a> {
        match self.table[message.encoding as usize] {
            Some(format) => format.view(message),
            None => View::new(Body::Binary(Cow::Borrowed(&message.body))),
        }
    }

    /// For one large body in `encoding`, from its beginning.
    pub fn content(&self, encoding: Encoding) -> Box<dyn ContentReader> {
        self.table[encoding as usize].map_or_else(|| Box::new(Unframed) as Box<_>, Format::content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_homeless_property_comes_back_as_itself() {
        let mut view = View::new(Body::Binary(Cow::Borrowed(b"")));
        view.subject = Some("s".into());
        view.group_sequence = Some(7);
        view.content_type = Some("text/plain".into());
        let carried = view.homeless(|name| name == "content-type");
        assert_eq!(carried, [("subject", Cow::Borrowed("s")), ("group-sequence", Cow::Borrowed("7"))]);
        let mut back = View::new(Body::Binary(Cow::Borrowed(b"")));
        for (name, text) in &carried {
            assert!(back.take_named(name, text));
        }
        assert_eq!((back.subject.as_deref(), back.group_sequence), (Some("s"), Some(7)));
        assert!(!back.take_named("colour", &"red".into()));
    }

    #[test]
    fn what_has_no_framing_is_content_all_through() {
        let mut reader = Formats::default().content(Encoding::Stomp);
        let mut content = Vec::new();
        for piece in [&b"one "[..], b"", b"two"] {
            reader.read(&Bytes::from_static(piece), &mut |part| content.extend_from_slice(&part));
        }
        assert_eq!(content, b"one two");
    }
}
