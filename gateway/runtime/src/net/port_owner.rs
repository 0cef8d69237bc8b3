//! Which process listens on a port, for an error message. Linux tells it in /proc; elsewhere, or
//! without the right to look, nobody is named.

use std::fs;
use std::path::Path;

/// State `LISTEN` in /proc/net/tcp.
const LISTENING: &str = "0A";

/// `process 4711 (rabbitmq)`, if it can be found.
pub(super) fn port_owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let link = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if holds(&process.path(), &link) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", command.trim()));
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<String> {
    let table = fs::read_to_string(table).ok()?;
    table.lines().skip(1).find_map(|line| {
        // number, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let same = u16::from_str_radix(local_port, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
        same.then(|| fields.get(9).map(ToString::to_string)).flatten()
    })
}

fn holds(process: &Path, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link))
}
