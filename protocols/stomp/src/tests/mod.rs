//! Whole sessions against a gateway of a few lines.

mod acks;
mod connecting;
mod conversion;
mod destinations;
mod harness;
mod hostile;
mod large_end;
mod large_in;
mod large_mixed;
mod large_out;
mod receipts;
mod subscribing;
mod transactions;
mod wishes;
