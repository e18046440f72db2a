//! The tags of a repository, page by page.

use reqwest::Url;
use reqwest::header::LINK;
use serde::Deserialize;

use super::address::Site;
use super::ask::Ask;
use super::http::{Http, body};
use crate::error::{Error, ErrorKind, Result};
use crate::reference::Reference;
use crate::registry::driver::Credential;

/// How many tags are asked for at a time.
const PAGE: u32 = 1000;
/// A page is not larger than a manifest.
const MAX_PAGE: usize = 4 << 20;
/// A repository with more tags than this is not listed.
const MAX_TAGS: usize = 100_000;
/// Nor one that gives them in smaller and smaller pages.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// Some registries write `null` where there are none.
    tags: Option<Vec<String>>,
}

/// All tags at the site.
pub(super) async fn list(
    http: &Http,
    site: &Site,
    reference: &Reference,
    credential: Option<&Credential>,
) -> Result<Vec<String>> {
    let mut ask = Ask::tags(reference, PAGE);
    let mut tags = Vec::new();
    for _ in 0..MAX_PAGES {
        let answer = http.get(site, &ask, credential).await?;
        let next = answer.headers().get_all(LINK).iter().filter_map(|h| h.to_str().ok()).find_map(next_page);
        let next = next.map(|next| follow(answer.url(), next)).transpose().map_err(|reason| {
            Error::new(ErrorKind::Unavailable, &ask.subject).because(format!("{} {reason}", site.address))
        })?;
        let page = body(answer, MAX_PAGE, &ask.subject, &site.address).await?;
        let page: Page = serde_json::from_slice(&page).map_err(|e| {
            Error::new(ErrorKind::Unavailable, &ask.subject).because(format!(
                "{} sends no list of tags: line {}",
                site.address,
                e.line()
            ))
        })?;
        // What is no tag cannot be pulled, and is nobody's business to print.
        tags.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| reference.at_tag(tag).is_ok()));
        match next {
            Some(_) if tags.len() > MAX_TAGS => break,
            Some(url) => ask.url = Some(url),
            None => return Ok(tags),
        }
    }
    Err(Error::new(ErrorKind::LimitExceeded, &ask.subject)
        .because(format!("the repository has more than {MAX_TAGS} tags, or they come in too many pages")))
}

/// The address of the next page in a `Link` header (RFC 8288): `<address>; rel="next"`.
fn next_page(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let params = after.split('<').next().unwrap_or_default();
        let is_next = params.split([';', ',']).any(|param| match param.trim().split_once('=') {
            Some((name, value)) => {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            }
            None => false,
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

/// The next page is with the same server: credentials are shown to it.
fn follow(from: &Url, next: &str) -> std::result::Result<Url, &'static str> {
    let mut url = from.join(next).map_err(|_| "says that the next page is at no valid address")?;
    if url.origin() != from.origin() {
        return Err("says that the next page is with another server");
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(
            next_page(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_page(r#"<x>; rel=prev, <y>; title="z"; REL = next"#), Some("y"));
        for none in ["", "<x>", "<x; rel=next", r#"<x>; rel="last""#, "<a><b><c>"] {
            assert_eq!(next_page(none), None, "{none}");
        }
    }

    #[test]
    fn the_next_page_is_with_the_same_server() {
        let from: Url = "https://reg.lan/v2/a/tags/list".parse().expect("a URL");
        assert_eq!(
            follow(&from, "/v2/a/tags/list?last=b").expect("follows").as_str(),
            "https://reg.lan/v2/a/tags/list?last=b"
        );
        for bad in ["https://evil.lan/x", "http://reg.lan/x", "https://reg.lan:444/x", "//evil.lan/x"] {
            assert!(follow(&from, bad).is_err(), "{bad} was followed");
        }
    }

    proptest! {
        #[test]
        fn reading_links_never_panics_and_ends(header in "[ -~]{0,100}") {
            let _ = next_page(&header);
        }
    }
}
