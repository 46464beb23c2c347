//! Files that come in and go out.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Multipart, Request},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;

use super::{Answer, Form, Oops, form};

/// The largest upload, in bytes: all files of a form together, with what is around them.
pub const LARGEST_UPLOAD: usize = 10 * 1024 * 1024;
/// How much more is read of what is too large, and thrown away: a browser shows our answer only when it has sent what it wanted to.
const THROWN_AWAY: usize = 64 * 1024 * 1024;
/// The most parts of a form with files.
const MOST_PARTS: usize = 200;

/// A file that came with a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The field.
    pub field: String,
    /// The file's name, without folders, cut off; whoever sent it chose it.
    pub name: String,
    /// What is in it.
    pub bytes: Bytes,
}

/// A body of at most `largest` bytes. What is larger is read on, within bounds, and refused.
pub(super) async fn bounded(body: Body, largest: usize) -> Result<Vec<u8>, Oops> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Oops::Bad("the body broke off"))?;
        length += chunk.len();
        if length <= largest {
            bytes.extend_from_slice(&chunk);
        } else if length > largest + THROWN_AWAY {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if length > largest {
        let most = if largest >= 1024 * 1024 { format!("{} MB", largest / 1024 / 1024) } else { format!("{} kB", largest / 1024) };
        return Err(Oops::TooLarge(format!("Ciò che ha inviato è troppo grande: al massimo {most}. Non è stato salvato nulla.")));
    }
    Ok(bytes)
}

/// Reads a form with files.
pub(super) async fn read(kind: &str, body: Body) -> Result<Form, Oops> {
    let bytes = bounded(body, LARGEST_UPLOAD).await?;
    let request = Request::builder().header(header::CONTENT_TYPE, kind).body(Body::from(bytes)).map_err(|_| Oops::Bad("no form"))?;
    let mut parts = Multipart::from_request(request, &()).await.map_err(|_| Oops::Bad("no form with files"))?;
    let mut form = Form::empty();
    let mut texts = 0;
    for _ in 0..MOST_PARTS {
        let Some(part) = parts.next_field().await.map_err(|_| Oops::Bad("a broken form with files"))? else { return Ok(form) };
        let field = part.name().unwrap_or_default().to_owned();
        let file = part.file_name().map(file_name);
        let bytes = part.bytes().await.map_err(|_| Oops::Bad("a broken form with files"))?;
        if let Some(name) = file {
            form.add_upload(Upload { field, name, bytes });
        } else {
            texts += bytes.len();
            if texts > form::LARGEST {
                return Err(Oops::Bad("too much text beside the files"));
            }
            form.add(field, &String::from_utf8_lossy(&bytes))?;
        }
    }
    Err(Oops::Bad("too many parts"))
}

fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// What kind of file goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// CSV, UTF-8 with a byte order mark so that Excel reads it right: the caller writes it.
    Csv,
    /// XLSX.
    Xlsx,
    /// PDF.
    Pdf,
    /// WAV.
    Wav,
    /// SVG, as a file only.
    Svg,
    /// JSON.
    Json,
}

impl FileKind {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Pdf => "application/pdf",
            Self::Wav => "audio/wav",
            Self::Svg => "image/svg+xml",
            Self::Json => "application/json",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Pdf => "pdf",
            Self::Wav => "wav",
            Self::Svg => "svg",
            Self::Json => "json",
        }
    }
}

/// A file to save: `name` without its ending, letters, digits and `-` only (others become `-`); no child's name, no code.
pub fn download(kind: FileKind, name: &str, bytes: impl Into<Body>) -> Answer {
    file(kind, name, bytes.into(), "attachment")
}

/// A file that the browser shows by itself (a PDF to print, a recording to listen to).
pub fn shown(kind: FileKind, name: &str, bytes: impl Into<Body>) -> Answer {
    file(kind, name, bytes.into(), "inline")
}

/// A picture within a page.
pub fn picture(media_type: &'static str, bytes: impl Into<Body>) -> Answer {
    let mut response: Response = bytes.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

fn file(kind: FileKind, name: &str, body: Body, how: &str) -> Answer {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
    let disposition = format!("{how}; filename=\"{name}.{}\"", kind.ending());
    let mut response: Response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).map_err(anyhow::Error::from)?);
    Ok(response)
}
