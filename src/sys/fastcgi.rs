//! One request to php-fpm's socket, as the web server would send it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    exchange::{Deadline, connect, exchange},
    http::Answer,
};
use crate::{
    error::{Error, Result},
    names::Domain,
};

const BEGIN: u8 = 1;
const PARAMETERS: u8 = 4;
const INPUT: u8 = 5;
const OUTPUT: u8 = 6;

/// Asks php-fpm for a path of a site whose pages lie in a directory, in the name of a domain.
pub fn ask(
    socket: &Path,
    pages: &Path,
    domain: &Domain,
    path: &str,
    limit: Duration,
) -> Result<Answer> {
    let failed = || format!("php-fpm does not answer `GET {path}`");
    let deadline = Deadline::after(limit);
    let mut stream = connect(socket, &deadline, failed)?;
    let bytes = exchange(&mut stream, &request(pages, domain, path), &deadline, failed)?;
    let text = String::from_utf8_lossy(&output(&bytes)).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    if head.is_empty() {
        return Err(Error::failed(failed()).caused_by("it closed the connection without an answer"));
    }
    let said = head.lines().find_map(|line| line.strip_prefix("Status: ")?.get(..3)?.parse().ok());
    Ok(Answer::new(said.unwrap_or(200), head, body))
}

/// The program that answers for a path: the one of that name, of that directory, or of the site.
fn script(pages: &Path, path: &str) -> PathBuf {
    let below = path.trim_start_matches('/').split('?').next().unwrap_or_default();
    let named = pages.join(below);
    let candidates = [named.clone(), named.join("index.php"), pages.join("index.php")];
    let is_program =
        |path: &PathBuf| path.extension().is_some_and(|e| e == "php") && path.is_file();
    candidates.into_iter().find(is_program).unwrap_or_else(|| pages.join("index.php"))
}

fn request(pages: &Path, domain: &Domain, path: &str) -> Vec<u8> {
    let script = script(pages, path);
    let name = script.strip_prefix(pages).unwrap_or(&script).display().to_string();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let mut parameters = Vec::new();
    for (key, value) in [
        ("SCRIPT_FILENAME", script.display().to_string()),
        ("SCRIPT_NAME", format!("/{name}")),
        ("DOCUMENT_ROOT", pages.display().to_string()),
        ("REQUEST_METHOD", "GET".into()),
        ("REQUEST_URI", path.into()),
        ("QUERY_STRING", query.into()),
        ("REQUEST_SCHEME", "http".into()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("SERVER_NAME", domain.to_string()),
        ("SERVER_PORT", "80".into()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("REDIRECT_STATUS", "200".into()),
        ("HTTP_HOST", domain.to_string()),
        ("HTTP_USER_AGENT", "hostkit".into()),
    ] {
        for text in [key, &value] {
            parameters.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes().map(|b| b));
        }
        // Lengths of four bytes have their highest bit set.
        let at = parameters.len() - 8;
        parameters[at] |= 0x80;
        parameters[at + 4] |= 0x80;
        parameters.extend(key.bytes().chain(value.bytes()));
    }
    // A responder, whose connection ends with the answer.
    let mut request = record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]);
    for part in parameters.chunks(0x8000) {
        request.extend(record(PARAMETERS, part));
    }
    request.extend(record(PARAMETERS, &[]));
    request.extend(record(INPUT, &[]));
    request
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
    let mut record = vec![1, kind, 0, 1, high, low, 0, 0];
    record.extend(content);
    record
}

/// What the program printed, of all records that came.
fn output(mut bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while let Some(([_, kind, _, _, high, low, padding, _], rest)) = bytes.split_first_chunk::<8>()
    {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        if *kind == OUTPUT {
            output.extend(&rest[..length]);
        }
        bytes = rest.get(length + usize::from(*padding)..).unwrap_or_default();
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_put_together_from_its_records() {
        let mut bytes = record(OUTPUT, b"Status: 404 Not Found\r\n\r\n");
        bytes.extend(record(7, b"PHP message: of no matter"));
        bytes.extend([1, OUTPUT, 0, 1, 0, 2, 6, 0, b'n', b'o', 0, 0, 0, 0, 0, 0]);
        bytes.extend(record(3, &[0; 8]));
        assert_eq!(output(&bytes), b"Status: 404 Not Found\r\n\r\nno");
        // Cut off, or no FastCGI at all.
        assert_eq!(output(&bytes[..12]), b"Stat");
        assert_eq!(output(b"HTTP/1.1 200 OK\r\n"), b"");
    }

    #[test]
    fn the_program_of_a_path_is_the_one_that_nginx_would_take() {
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path();
        std::fs::create_dir(pages.join("blog")).unwrap();
        for file in ["index.php", "up.php", "blog/index.php", "health"] {
            std::fs::File::create(pages.join(file)).unwrap();
        }
        for (path, name) in [
            ("/", "index.php"),
            ("/health", "index.php"),
            ("/up.php?a=/b", "up.php"),
            ("/blog/", "blog/index.php"),
            ("/no.php", "index.php"),
        ] {
            assert_eq!(script(pages, path), pages.join(name), "{path}");
        }
    }
}
