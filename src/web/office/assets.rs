//! What browsers fetch beside the pages: built into the binary, served under a path that changes with what it holds.

use std::{fmt::Write as _, io::Write as _, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// Name, media type, content. Others' files are fetched and verified by `assets/vendor/fetch.sh`.
const FILES: [(&str, &str, &[u8]); 11] = [
    ("office.css", "text/css; charset=utf-8", include_bytes!("../assets/office.css")),
    ("office.js", "text/javascript; charset=utf-8", include_bytes!("../assets/office.js")),
    ("line.js", "text/javascript; charset=utf-8", include_bytes!("../assets/line.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ("bootstrap-italia.min.css", "text/css; charset=utf-8", include_bytes!("../assets/vendor/bootstrap-italia.min.css")),
    ("sprites.svg", "image/svg+xml", include_bytes!("../assets/vendor/sprites.svg")),
    ("htmx.min.js", "text/javascript; charset=utf-8", include_bytes!("../assets/vendor/htmx.min.js")),
    ("titillium-web-regular.woff2", "font/woff2", include_bytes!("../assets/vendor/titillium-web-regular.woff2")),
    ("titillium-web-600.woff2", "font/woff2", include_bytes!("../assets/vendor/titillium-web-600.woff2")),
    ("titillium-web-700.woff2", "font/woff2", include_bytes!("../assets/vendor/titillium-web-700.woff2")),
    ("roboto-mono-regular.woff2", "font/woff2", include_bytes!("../assets/vendor/roboto-mono-regular.woff2")),
];

/// The path's changing part: a hash over all files, as they refer to each other.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in FILES {
        hash.update(name);
        hash.update(content);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
});

/// The files that are worth it, compressed once. They hold no secrets, unlike pages, which are never compressed (BREACH).
static COMPRESSED: LazyLock<Vec<Option<Vec<u8>>>> = LazyLock::new(|| {
    let compress = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).ok()?;
        encoder.finish().ok()
    };
    FILES.iter().map(|(_, kind, content)| (*kind != "font/woff2").then(|| compress(content)).flatten()).collect()
});

/// Where a page finds a file.
pub fn url(name: &str) -> String {
    format!("/ufficio/risorse/{}/{name}", *HASH)
}

pub(super) async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(at) = FILES.iter().position(|(known, ..)| *known == name).filter(|_| hash == *HASH) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some((_, kind, content)) = FILES.get(at) else { return StatusCode::NOT_FOUND.into_response() };
    let common =
        [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable"), (header::VARY, "accept-encoding")];
    let gzip = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"));
    match COMPRESSED.get(at) {
        Some(Some(small)) if gzip => (common, [(header::CONTENT_ENCODING, "gzip")], small.as_slice()).into_response(),
        _ => (common, *content).into_response(),
    }
}
