//! Writes performatives as whole frames.

use bytes::{BufMut, BytesMut};
use evergate_model::Value;

use super::code;
use super::state::put_error;
use crate::codec::{FRAME_AMQP, FRAME_SASL, ListWriter, MapWriter, begin_frame, end_frame, put_string};
use crate::error::AmqpError;

/// Our side of `open`.
pub(crate) struct OpenReply<'a> {
    pub container_id: &'a str,
    pub frame_bytes_max: u32,
    pub channel_max: u16,
    pub idle_timeout_millis: u32,
}

/// Our side of `attach`.
pub(crate) struct AttachReply<'a> {
    pub name: &'a str,
    pub handle: u32,
    /// Our role: true, we receive.
    pub receiver: bool,
    pub snd_settle_mode: u8,
    pub rcv_settle_mode: u8,
    /// Encoded source and target; absent: the link is refused.
    pub source: Option<&'a [u8]>,
    pub target: Option<&'a [u8]>,
    pub message_bytes_max: u64,
}

/// A session's windows.
pub(crate) struct FlowReply {
    pub next_incoming_id: u32,
    pub incoming_window: u32,
    pub next_outgoing_id: u32,
    pub link: Option<LinkFlow>,
}

/// A link's credit.
pub(crate) struct LinkFlow {
    pub handle: u32,
    pub delivery_count: u32,
    pub link_credit: u32,
    pub drain: bool,
}

/// A transfer's fields.
pub(crate) struct TransferHead {
    pub handle: u32,
    /// Id and tag: in a delivery's first frame only.
    pub delivery: Option<(u32, u64)>,
    pub settled: bool,
    pub more: bool,
    /// The delivery ends here, and is not whole.
    pub aborted: bool,
}

/// We promise to send no more than the peer's own window, so ours is as wide as can be.
const OUTGOING_WINDOW: u32 = i32::MAX as u32;

fn frame(buf: &mut BytesMut, channel: u16, write: impl FnOnce(&mut BytesMut)) {
    let start = begin_frame(buf, FRAME_AMQP, channel);
    write(buf);
    end_frame(buf, start, 0);
}

fn sasl_frame(buf: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = begin_frame(buf, FRAME_SASL, 0);
    write(buf);
    end_frame(buf, start, 0);
}

pub(crate) fn write_sasl_mechanisms(buf: &mut BytesMut, mechanisms: &[&str]) {
    sasl_frame(buf, |buf| ListWriter::described(buf, code::SASL_MECHANISMS).symbols(mechanisms).close());
}

/// An empty challenge: for a client that named PLAIN but sent no credentials with it.
pub(crate) fn write_sasl_challenge(buf: &mut BytesMut) {
    sasl_frame(buf, |buf| {
        ListWriter::described(buf, code::SASL_CHALLENGE).value(&Value::Binary([][..].into())).close();
    });
}

pub(crate) fn write_sasl_outcome(buf: &mut BytesMut, code: u8) {
    sasl_frame(buf, |buf| ListWriter::described(buf, code::SASL_OUTCOME).value(&Value::Ubyte(code)).close());
}

pub(crate) fn write_open(buf: &mut BytesMut, open: &OpenReply<'_>) {
    frame(buf, 0, |buf| {
        ListWriter::described(buf, code::OPEN)
            .field(|buf| put_string(buf, open.container_id))
            .null() // hostname: the client's to say
            .uint(open.frame_bytes_max)
            .value(&Value::Ushort(open.channel_max))
            .uint(open.idle_timeout_millis)
            .null() // outgoing-locales
            .null() // incoming-locales
            .symbols(&["ANONYMOUS-RELAY", "SHARED-SUBS", "DELAYED_DELIVERY"])
            .null() // desired-capabilities
            .field(|buf| {
                let mut map = MapWriter::new(buf);
                map.pair(&Value::Symbol("product".into()), &Value::text("Evergate"));
                map.pair(&Value::Symbol("version".into()), &Value::text(env!("CARGO_PKG_VERSION")));
                map.close();
            })
            .close();
    });
}

pub(crate) fn write_begin(buf: &mut BytesMut, channel: u16, incoming_window: u32, handle_max: u32) {
    frame(buf, channel, |buf| {
        ListWriter::described(buf, code::BEGIN)
            .value(&Value::Ushort(channel))
            .uint(0) // next-outgoing-id
            .uint(incoming_window)
            .uint(OUTGOING_WINDOW)
            .uint(handle_max)
            .close();
    });
}

pub(crate) fn write_attach(buf: &mut BytesMut, channel: u16, attach: &AttachReply<'_>) {
    frame(buf, channel, |buf| {
        let mut list = ListWriter::described(buf, code::ATTACH);
        list.field(|buf| put_string(buf, attach.name))
            .uint(attach.handle)
            .flag(attach.receiver)
            .value(&Value::Ubyte(attach.snd_settle_mode))
            .value(&Value::Ubyte(attach.rcv_settle_mode))
            .option(attach.source, BufMut::put_slice)
            .option(attach.target, BufMut::put_slice)
            .null() // unsettled: we hold nothing of an earlier attach
            .null(); // incomplete-unsettled
        if attach.receiver {
            list.null();
        } else {
            list.uint(0); // initial-delivery-count
        }
        list.value(&Value::Ulong(attach.message_bytes_max)).close();
    });
}

pub(crate) fn write_flow(buf: &mut BytesMut, channel: u16, flow: &FlowReply) {
    frame(buf, channel, |buf| {
        let mut list = ListWriter::described(buf, code::FLOW);
        list.uint(flow.next_incoming_id).uint(flow.incoming_window).uint(flow.next_outgoing_id).uint(OUTGOING_WINDOW);
        if let Some(link) = &flow.link {
            list.uint(link.handle).uint(link.delivery_count).uint(link.link_credit).null().flag(link.drain);
        }
        list.close();
    });
}

/// Writes the frame up to the message; `payload_bytes` of it follow.
pub(crate) fn write_transfer(buf: &mut BytesMut, channel: u16, transfer: &TransferHead, payload_bytes: usize) {
    let start = begin_frame(buf, FRAME_AMQP, channel);
    let mut list = ListWriter::described(buf, code::TRANSFER);
    list.uint(transfer.handle);
    match transfer.delivery {
        Some((id, tag)) => {
            list.uint(id).value(&Value::Binary(tag.to_be_bytes()[..].into())).uint(0);
        }
        None => {
            list.null().null().null();
        }
    }
    list.flag(transfer.settled).flag(transfer.more);
    if transfer.aborted {
        list.null().null().null(); // rcv-settle-mode, state, resume
        list.flag(true);
    }
    list.close();
    end_frame(buf, start, payload_bytes);
}

/// Settles `first..=last` with the state that `put_state` writes. `receiver`: our role for these deliveries.
pub(crate) fn write_disposition(
    buf: &mut BytesMut,
    channel: u16,
    receiver: bool,
    ids: (u32, u32),
    put_state: impl FnOnce(&mut BytesMut),
) {
    frame(buf, channel, |buf| {
        let mut list = ListWriter::described(buf, code::DISPOSITION);
        list.flag(receiver).uint(ids.0);
        if ids.1 == ids.0 {
            list.null();
        } else {
            list.uint(ids.1);
        }
        list.flag(true).field(put_state).close();
    });
}

pub(crate) fn write_detach(buf: &mut BytesMut, channel: u16, handle: u32, closed: bool, error: Option<&AmqpError>) {
    frame(buf, channel, |buf| {
        ListWriter::described(buf, code::DETACH).uint(handle).flag(closed).option(error, put_error).close();
    });
}

pub(crate) fn write_end(buf: &mut BytesMut, channel: u16, error: Option<&AmqpError>) {
    frame(buf, channel, |buf| ListWriter::described(buf, code::END).option(error, put_error).close());
}

pub(crate) fn write_close(buf: &mut BytesMut, error: Option<&AmqpError>) {
    frame(buf, 0, |buf| ListWriter::described(buf, code::CLOSE).option(error, put_error).close());
}
