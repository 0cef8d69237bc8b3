//! Whole sessions against a gateway of a few lines.

mod acks;
mod connecting;
mod conversion;
mod destinations;
mod harness;
mod receipts;
mod subscribing;
mod transactions;
mod wishes;
