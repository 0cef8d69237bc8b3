//! Subscriptions that match nothing that is published, until standard input ends.

use std::io::{self, Read, Write};

use crate::protocol::Protocol;
use crate::{Plan, wrong};

pub fn run(plan: &Plan, protocol: &Protocol) -> io::Result<String> {
    let bystander = protocol.bystander.ok_or_else(|| wrong("this protocol has no bystanders here"))?;
    let connections = (0..plan.subscribers).map(|number| bystander(plan, number)).collect::<io::Result<Vec<_>>>()?;
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(format!("{{\"connections\": {}}}", connections.len()))
}

/// A filter of each kind in turn, all below `name/other`.
pub fn filter(plan: &Plan, connection: u32, number: u32) -> String {
    let name = &plan.name;
    match number % 3 {
        0 => format!("{name}/other/{connection}/{number}"),
        1 => format!("{name}/other/{connection}/{number}/+"),
        _ => format!("{name}/other/{connection}/+/{number}/#"),
    }
}
