//! Queries of lists.

use std::collections::BTreeMap;
use std::fmt::Display;

use api_types::words::ListOrder;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delivery_log::page::{DEFAULT_LIMIT, MAX_LIMIT, Order, PageRequest};
use model::clock::Timestamp;
use url::form_urlencoded;
use uuid::Uuid;

use crate::incoming::fingerprint;
use crate::problem::{Code, Faults, Problem};

/// The parameters of a query, taken one by one. Those that do not exist were
/// refused with the caller's credentials, on every route alike.
pub(crate) struct Query {
    parameters: BTreeMap<String, Vec<String>>,
    faults: Faults,
    path: String,
    given: BTreeMap<String, String>,
}

/// A list that was asked for.
pub(crate) struct ListRequest {
    pub(crate) page: PageRequest,
    pub(crate) expand: Vec<String>,
    given: BTreeMap<String, String>,
    mark: [u8; MARK],
}

/// How much of a cursor says to which list it belongs, in bytes.
const MARK: usize = 8;
/// How many parameters a query may have.
const MOST_PARAMETERS: usize = 50;
/// What may be another on the next page of the same list.
const NOT_THE_LIST: [&str; 4] = ["cursor", "limit", "expand", "order"];

/// What tells a list, its filter and its order from others.
fn mark(path: &str, given: &BTreeMap<String, String>, order: Order) -> [u8; MARK] {
    let mut parts = vec![path, if order == Order::Ascending { "asc" } else { "desc" }];
    for (name, value) in given.iter().filter(|(name, _)| !NOT_THE_LIST.contains(&name.as_str())) {
        parts.extend([name.as_str(), value.as_str()]);
    }
    let mut mark = [0; MARK];
    mark.copy_from_slice(&fingerprint(&parts)[..MARK]);
    mark
}

/// Reads a cursor of a list.
fn place(cursor: &str, mark: [u8; MARK]) -> Result<Uuid, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| NO_CURSOR)?;
    let (place, own) = bytes.split_at_checked(16).ok_or(NO_CURSOR)?;
    let place = Uuid::from_slice(place).map_err(|_| NO_CURSOR)?;
    match own == mark {
        true => Ok(place),
        false if own.len() == MARK => {
            Err("belongs to another list, filter or order; start that one without a cursor")
        }
        false => Err(NO_CURSOR),
    }
}

const NO_CURSOR: &str = "is not a cursor that Posthorn gave out";

impl Query {
    /// The query of a request for `path`.
    pub(crate) fn parse(path: &str, query: &str) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (count, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if count == MOST_PARAMETERS {
                let detail = format!("the query has more than {MOST_PARAMETERS} parameters");
                return Err(Problem::new(Code::MalformedRequest, detail));
            }
            parameters.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let given = parameters.iter().map(|(name, values)| (name.clone(), values.join(","))).collect();
        Ok(Self { parameters, faults: Faults::default(), path: path.to_owned(), given })
    }

    /// Takes a parameter through a parser.
    pub(crate) fn take<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let mut values = self.parameters.remove(name)?;
        if values.len() > 1 {
            self.faults.add(name, "repeated", "appears twice in the query");
            return None;
        }
        self.faults.check(name, parse(&values.pop()?))
    }

    /// Takes a time. A plus before an offset arrives as a space where it was
    /// not escaped, and no time has a space there.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.take(name, |value| Timestamp::parse(&value.replace(' ', "+")))
    }

    /// Takes a truth; `false` where it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.take(name, |value| match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        })
        .unwrap_or_default()
    }

    /// Takes several values: separated by commas, or each with the name again,
    /// as generated clients write them.
    pub(crate) fn several<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let values = self.parameters.remove(name).unwrap_or_default();
        let each = values.iter().flat_map(|value| value.split(',')).map(str::trim).map(parse);
        self.faults.check(name, each.collect::<Result<Vec<_>, _>>()).unwrap_or_default()
    }

    /// Whether everything that was taken is right.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        self.faults.finish()
    }

    /// The parameters that every list has. `expandable` is what `expand` may name.
    pub(crate) fn list(self, expandable: &[&str]) -> Result<ListRequest, Problem> {
        self.list_in(Order::default(), expandable)
    }

    /// The same of a list that runs in an order of its own unless another is
    /// asked for.
    pub(crate) fn list_in(mut self, otherwise: Order, expandable: &[&str]) -> Result<ListRequest, Problem> {
        let limit = self.take("limit", |value| match value.parse::<u32>() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(format!("must be a number from 1 to {MAX_LIMIT}")),
        });
        let order = match self.take("order", str::parse::<ListOrder>) {
            Some(ListOrder::Descending) => Order::Descending,
            Some(ListOrder::Ascending) => Order::Ascending,
            None => otherwise,
        };
        let mark = mark(&self.path, &self.given, order);
        let after = self.take("cursor", |value| place(value, mark));
        let expand = self.several("expand", |name| match expandable.contains(&name) {
            true => Ok(name.to_owned()),
            false if expandable.is_empty() => Err("nothing can be expanded in this list".to_owned()),
            false => Err(format!("can be {}", expandable.join(", "))),
        });
        self.faults.finish()?;
        let page = PageRequest { limit: limit.unwrap_or(DEFAULT_LIMIT), after, order };
        Ok(ListRequest { page, expand, given: self.given, mark })
    }
}

impl ListRequest {
    /// The cursor of a place in this list.
    pub(crate) fn cursor(&self, place: Uuid) -> String {
        URL_SAFE_NO_PAD.encode([place.as_bytes().as_slice(), &self.mark].concat())
    }

    /// The same query with another cursor.
    pub(crate) fn query_with_cursor(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.given.iter().filter(|(name, _)| *name != "cursor") {
            query.append_pair(name, value);
        }
        query.append_pair("cursor", cursor).finish()
    }

    /// Whether something is to be expanded.
    pub(crate) fn expands(&self, name: &str) -> bool {
        self.expand.iter().any(|expanded| expanded == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &str, query: &str) -> Result<ListRequest, Vec<String>> {
        let listed = Query::parse(path, query).and_then(|query| query.list(&[]));
        listed.map_err(|problem| problem.body().errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn a_cursor_belongs_to_its_list_its_filter_and_its_order() {
        let place = Uuid::from_u128(7);
        let first = list("/v1/deliveries", "status=failed&limit=10").expect("a list");
        let cursor = first.cursor(place);
        for same in ["status=failed", "limit=3&status=failed&order=desc"] {
            let next = list("/v1/deliveries", &format!("{same}&cursor={cursor}")).expect("a list");
            assert_eq!(next.page.after, Some(place), "{same}");
        }
        for (path, query) in [
            ("/v1/events", "status=failed"),
            ("/v1/deliveries", "status=held"),
            ("/v1/deliveries", "status=failed&order=asc"),
            ("/v1/deliveries", ""),
        ] {
            let refused = list(path, &format!("{query}&cursor={cursor}"));
            assert_eq!(refused.err(), Some(vec!["cursor".to_owned()]), "{path}?{query}");
        }
        let plain = place.simple().to_string();
        for other in ["", "x", &plain, &cursor[1..]] {
            assert!(list("/v1/deliveries", &format!("status=failed&cursor={other}")).is_err(), "{other}");
        }
    }

    #[test]
    fn several_values_are_separated_by_commas_or_named_again_and_one_is_named_once() {
        for query in ["n=1,2,3", "n=1&n=2&n=3", "n=1,2&n=3"] {
            let mut parsed = Query::parse("/", query).unwrap_or_else(|_| panic!("a query"));
            assert_eq!(parsed.several("n", str::parse::<u8>), [1, 2, 3], "{query}");
            assert!(parsed.finish().is_ok());
            let mut parsed = Query::parse("/", query).unwrap_or_else(|_| panic!("a query"));
            assert_eq!(parsed.take("n", str::parse::<u8>), None, "{query}");
            assert!(parsed.finish().is_err());
        }
        let first = list("/v1/deliveries", "status=failed,held").expect("a list");
        let cursor = first.cursor(Uuid::from_u128(7));
        assert!(list("/v1/deliveries", &format!("status=failed&status=held&cursor={cursor}")).is_ok());
    }

    #[test]
    fn a_plus_that_came_as_a_space_is_one_in_a_time() {
        let utc = Timestamp::parse("2026-01-01T10:00:00Z").ok();
        for text in ["2026-01-01T12:00:00+02:00", "2026-01-01T12:00:00%2B02:00", "2026-01-01T10:00:00Z"] {
            let mut query = Query::parse("/", &format!("at={text}")).unwrap_or_else(|_| panic!("a query"));
            assert_eq!(query.time("at"), utc, "{text}");
            assert!(query.finish().is_ok());
        }
    }
}
