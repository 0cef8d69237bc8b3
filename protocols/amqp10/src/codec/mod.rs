//! AMQP's type system and frames (parts 1 and 2.3), borrowed from the bytes.

mod fields;
mod frame;
mod read;
mod validate;
mod write;

pub(crate) use fields::Fields;
pub(crate) use frame::{
    AMQP_HEADER, FRAME_AMQP, FRAME_SASL, HEADER_BYTES, SASL_HEADER, begin_frame, end_frame, frame_size, parse_frame,
};
pub(crate) use read::{DecodeError, Item, Items, Reader};
pub(crate) use validate::validate;
pub(crate) use write::{
    ListWriter, MapWriter, put_binary_header, put_descriptor, put_string, put_string_header, put_symbol, put_value,
};

#[cfg(test)]
mod tests;
