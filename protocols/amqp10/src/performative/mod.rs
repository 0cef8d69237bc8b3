//! Performatives (part 2, 2.7; part 5, 5.3.3): read into structures that borrow from the frame, written
//! straight to the wire.

mod decode;
mod encode;
mod state;

pub(crate) use decode::{Attach, Begin, Detach, Disposition, Flow, Open, Performative, Transfer};
pub(crate) use encode::{
    AttachReply, FlowReply, LinkFlow, OpenReply, TransferHead, write_attach, write_begin, write_close, write_detach,
    write_disposition, write_end, write_flow, write_open, write_sasl_challenge, write_sasl_mechanisms,
    write_sasl_outcome, write_transfer,
};
pub(crate) use state::{
    DeliveryState, TransactionRef, put_declared, put_outcome, put_transactional, read_state, read_transaction,
};

/// Descriptors of performatives.
pub(crate) mod code {
    pub const OPEN: u8 = 0x10;
    pub const BEGIN: u8 = 0x11;
    pub const ATTACH: u8 = 0x12;
    pub const FLOW: u8 = 0x13;
    pub const TRANSFER: u8 = 0x14;
    pub const DISPOSITION: u8 = 0x15;
    pub const DETACH: u8 = 0x16;
    pub const END: u8 = 0x17;
    pub const CLOSE: u8 = 0x18;
    pub const ERROR: u8 = 0x1d;
    pub const RECEIVED: u8 = 0x23;
    pub const ACCEPTED: u8 = 0x24;
    pub const REJECTED: u8 = 0x25;
    pub const RELEASED: u8 = 0x26;
    pub const MODIFIED: u8 = 0x27;
    pub const SOURCE: u8 = 0x28;
    pub const TARGET: u8 = 0x29;
    pub const DELETE_ON_CLOSE: u8 = 0x2b;
    pub const DELETE_ON_NO_LINKS: u8 = 0x2c;
    pub const COORDINATOR: u8 = 0x30;
    pub const DECLARE: u8 = 0x31;
    pub const DISCHARGE: u8 = 0x32;
    pub const DECLARED: u8 = 0x33;
    pub const TRANSACTIONAL_STATE: u8 = 0x34;
    pub const SASL_MECHANISMS: u8 = 0x40;
    pub const SASL_INIT: u8 = 0x41;
    pub const SASL_CHALLENGE: u8 = 0x42;
    pub const SASL_RESPONSE: u8 = 0x43;
    pub const SASL_OUTCOME: u8 = 0x44;
}
