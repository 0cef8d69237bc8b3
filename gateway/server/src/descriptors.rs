//! Whether the system lets this process have as many connections as it is to serve.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files beside connections: the journal's, listeners, the event file, the runtime's own.
const OTHERS: u64 = 64;

/// Lets this process have as many open files as the system grants it: the usual soft limit is meant for programs that
/// use `select`.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, the warning says what is missing.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What to say if the limit is too low for so many connections.
pub fn warning(connections_max: u64) -> Option<String> {
    // Elsewhere than on Linux nothing is said.
    warning_for(connections_max, &std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn warning_for(connections_max: u64, limits: &str) -> Option<String> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft: u64 = line.split_whitespace().next()?.parse().ok()?;
    let wanted = connections_max + OTHERS;
    (soft < wanted).then(|| {
        format!(
            "this process may have {soft} open files, too few for its {connections_max} connections: set ulimit -n (in \
             systemd LimitNOFILE) to {wanted} or more, or lower [limits] connections_max"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_told_with_how_many_are_wanted() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(warning_for(900, limits), None);
        let text = warning_for(1000, limits).unwrap();
        assert!(text.contains("1024 open files") && text.contains("to 1064 or more"), "{text}");
        assert_eq!(warning_for(1000, "Max open files  unlimited  unlimited  files\n"), None);
    }
}
