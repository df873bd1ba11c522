//! Pages of lists as they are answered: bounded in rows and in bytes.
//!
//! A page ends where its bytes do, and says where the next one begins. What is
//! large is read in pieces, so that never more than a page and a piece are in
//! memory.

use actix_web::HttpResponse;
use actix_web::http::header::LINK;
use delivery_log::page::{Page, PageRequest};
use serde::Serialize;
use uuid::Uuid;

use crate::outgoing::{private, to_json};
use crate::query::ListRequest;

/// How many bytes of rows are on a page; a single larger row is one of its own.
pub(crate) const PAGE_BYTES: usize = 1024 * 1024;

/// The rows of a page, as they gather.
pub(crate) struct Rows<'a> {
    request: &'a ListRequest,
    text: String,
    count: u32,
    /// Where it would go on after the last row.
    last: Option<Uuid>,
    /// Whether there are more rows than those that were added, as far as is known.
    more: bool,
    /// Whether no row is added any more.
    full: bool,
}

impl<'a> Rows<'a> {
    /// None yet.
    pub(crate) fn new(request: &'a ListRequest) -> Self {
        let (text, last) = (String::from("{\"data\":["), request.page.after);
        Self { request, text, count: 0, last, more: true, full: false }
    }

    /// What is to be read next, at most so many rows at once; none if the page
    /// is full or the list has ended.
    pub(crate) fn wanted(&self, piece: u32) -> Option<PageRequest> {
        let limit = self.request.page.limit.saturating_sub(self.count).min(piece);
        let wanted = PageRequest { limit, after: self.last, ..self.request.page };
        (self.more && !self.full && limit > 0).then_some(wanted)
    }

    /// Adds a row, unless the page is full. Tells whether it was added.
    pub(crate) fn add(&mut self, row: &impl Serialize, cursor: Uuid) -> bool {
        let row = to_json(row);
        if self.full || (self.count > 0 && self.text.len() + row.len() > PAGE_BYTES) {
            self.full = true;
            return false;
        }
        if self.count > 0 {
            self.text.push(',');
        }
        self.text.push_str(&row);
        self.count += 1;
        self.last = Some(cursor);
        true
    }

    /// Those that were added were all of a page, behind which there may be more.
    pub(crate) fn end_of(&mut self, next: Option<Uuid>) {
        self.more = self.full || next.is_some();
    }

    /// Adds the rows of a page as far as there is room.
    pub(crate) fn add_page<T: Serialize>(&mut self, page: Page<T>) {
        for (row, cursor) in page.rows.iter().zip(page.cursors) {
            if !self.add(row, cursor) {
                break;
            }
        }
        self.end_of(page.next);
    }

    /// The answer, with a `Link` to the next page.
    pub(crate) fn into_answer(mut self, path: &str) -> HttpResponse {
        let next = self.last.filter(|_| self.more).map(|place| self.request.cursor(place));
        let mut response = HttpResponse::Ok();
        response.insert_header(private()).content_type("application/json");
        match &next {
            None => self.text.push_str("],\"next_cursor\":null}"),
            Some(cursor) => {
                let link = format!("<{path}?{}>; rel=\"next\"", self.request.query_with_cursor(cursor));
                response.insert_header((LINK, link));
                self.text.push_str(&format!("],\"next_cursor\":\"{cursor}\"}}"));
            }
        }
        response.body(self.text)
    }
}

/// A page that was read as a whole.
pub(crate) fn answer<T: Serialize>(path: &str, request: &ListRequest, page: Page<T>) -> HttpResponse {
    let mut rows = Rows::new(request);
    rows.add_page(page);
    rows.into_answer(path)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::query::Query;

    fn request(query: &str) -> ListRequest {
        Query::parse("/x", query).and_then(|parsed| parsed.list(&[])).unwrap_or_else(|_| panic!("a query"))
    }

    async fn json(response: HttpResponse) -> Value {
        let body = actix_web::body::to_bytes(response.into_body()).await.expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[actix_web::test]
    async fn a_page_ends_where_its_bytes_do_and_the_next_goes_on_there() {
        let all: Vec<String> = (0..10).map(|n| n.to_string().repeat(300_000)).collect();
        let (mut read, mut query, mut sizes) = (Vec::new(), String::new(), Vec::new());
        loop {
            let wanted = request(&query);
            let mut rows = Rows::new(&wanted);
            while let Some(piece) = rows.wanted(2) {
                let after = piece.after.map_or(0, |cursor| cursor.as_u128() as usize);
                let found: Vec<(usize, &String)> =
                    all.iter().enumerate().skip(after).take(piece.limit as usize + 1).collect();
                let page = Page::from_overfull(found, piece.limit, |(n, _)| Uuid::from_u128(*n as u128 + 1));
                rows.add_page(page.map(|(_, row)| row));
            }
            let answer = json(rows.into_answer("/x")).await;
            let data = answer["data"].as_array().expect("rows");
            sizes.push(data.len());
            read.extend(data.iter().filter_map(Value::as_str).map(str::to_owned));
            match answer["next_cursor"].as_str() {
                Some(next) => query = format!("cursor={next}"),
                None => break,
            }
        }
        assert!(read == all && sizes == [3, 3, 3, 1], "{sizes:?}");
    }

    #[actix_web::test]
    async fn one_row_that_is_larger_than_a_page_is_a_page() {
        let wanted = request("limit=5");
        let huge = "x".repeat(2 * PAGE_BYTES);
        let (rows, cursors) = (vec![huge.clone(), huge], [1, 2].map(Uuid::from_u128).to_vec());
        let answer = json(answer("/x", &wanted, Page { rows, cursors, next: None })).await;
        assert_eq!(answer["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(answer["next_cursor"], wanted.cursor(Uuid::from_u128(1)));
    }
}
