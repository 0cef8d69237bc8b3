//! The web console, as files inside the binary.
//!
//! The page is written in Svelte (`app/`), built by Vite into `dist/`, and `dist/` is committed, so that `cargo`
//! alone builds a gateway with its console.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "dist/"]
struct Dist;

/// One file of the console.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The file's content.
    pub bytes: Cow<'static, [u8]>,
    /// The value of `Content-Type`.
    pub mime: &'static str,
    /// The value of `ETag`, with its quotes. It changes when the content does.
    pub etag: String,
    /// Whether the name carries a hash of the content, so that the file may be cached for ever.
    pub immutable: bool,
}

/// The file at `path`, a path below the root without its leading slash. The empty path is the page itself.
pub fn asset(path: &str) -> Option<Asset> {
    let path = if path.is_empty() { "index.html" } else { path };
    let file = Dist::get(path)?;
    Some(Asset {
        mime: mime(path),
        etag: etag(&file.metadata.sha256_hash()),
        // Vite names what it puts here after its content.
        immutable: path.starts_with("assets/"),
        bytes: file.data,
    })
}

fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn etag(sha256: &[u8; 32]) -> String {
    let mut etag = String::with_capacity(34);
    etag.push('"');
    for byte in &sha256[..16] {
        // Writing to a String cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_path_is_the_page() {
        let page = asset("").expect("the page is built and committed");
        assert_eq!(page.mime, "text/html; charset=utf-8");
        assert!(!page.immutable);
        assert_eq!(page.etag, asset("index.html").unwrap().etag);
    }

    #[test]
    fn everything_the_page_names_is_embedded_and_has_a_type() {
        let page = String::from_utf8(asset("").unwrap().bytes.into_owned()).unwrap();
        let names: Vec<&str> =
            page.split(['"', '\'']).filter(|word| word.starts_with("/assets/") || *word == "/favicon.svg").collect();
        assert!(names.len() >= 3, "a script, a style sheet and an icon: {names:?}");
        for name in names {
            let found = asset(&name[1..]).unwrap_or_else(|| panic!("{name} is missing"));
            assert_ne!(found.mime, "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn every_embedded_file_has_a_type_browsers_accept_with_nosniff() {
        for name in Dist::iter() {
            assert_ne!(mime(&name), "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn the_page_holds_no_inline_script_or_style() {
        let page = String::from_utf8(asset("").unwrap().bytes.into_owned()).unwrap();
        for script in page.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains("src="), "inline script");
        }
        assert!(!page.contains("<style") && !page.contains("style="));
    }

    #[test]
    fn what_is_not_in_the_console_is_not_found() {
        for path in ["nothing.html", "../Cargo.toml", "/etc/passwd", "assets/"] {
            assert!(asset(path).is_none(), "{path}");
        }
    }
}
