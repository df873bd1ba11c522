//! Queries of lists.

use std::collections::BTreeMap;
use std::fmt::Display;

use delivery_log::page::{DEFAULT_LIMIT, MAX_LIMIT, Order, PageRequest};
use model::clock::Timestamp;
use url::form_urlencoded;
use uuid::Uuid;

use crate::problem::{Code, Faults, Problem};

/// The parameters of a query, taken one by one; what is left is refused.
pub(crate) struct Query {
    parameters: BTreeMap<String, String>,
    faults: Faults,
}

/// A list that was asked for.
pub(crate) struct ListRequest {
    pub(crate) page: PageRequest,
    pub(crate) expand: Vec<String>,
    given: BTreeMap<String, String>,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        let mut faults = Faults::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                faults.add(name, "repeated", "stands twice in the query");
            }
        }
        if parameters.len() > 50 {
            return Err(Problem::new(Code::MalformedRequest, "the query has more than 50 parameters"));
        }
        Ok(Self { parameters, faults })
    }

    /// Takes a parameter through a parser.
    pub(crate) fn take<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.parameters.remove(name)?;
        self.faults.check(name, parse(&value))
    }

    /// Takes a time.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.take(name, Timestamp::parse)
    }

    /// Takes several values, separated by commas.
    pub(crate) fn several<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.take(name, |value| value.split(',').map(str::trim).map(parse).collect::<Result<Vec<_>, _>>())
            .unwrap_or_default()
    }

    /// No parameters but those that were taken.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for name in self.parameters.keys() {
            self.faults.add(name, "unknown_parameter", "is not a parameter here");
        }
        self.faults.finish()
    }

    /// The parameters that every list has. `expandable` is what `expand` may name.
    pub(crate) fn list(self, query: &str, expandable: &[&str]) -> Result<ListRequest, Problem> {
        self.list_in(Order::default(), query, expandable)
    }

    /// The same of a list that runs in an order of its own unless another is
    /// asked for.
    pub(crate) fn list_in(
        mut self,
        otherwise: Order,
        query: &str,
        expandable: &[&str],
    ) -> Result<ListRequest, Problem> {
        let limit = self.take("limit", |value| match value.parse::<u32>() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(format!("must be a number from 1 to {MAX_LIMIT}")),
        });
        let after = self.take("cursor", |value| {
            Uuid::try_parse(value).map_err(|_| "is not a cursor that Posthorn gave out")
        });
        let order = self.take("order", |value| match value {
            "desc" => Ok(Order::Descending),
            "asc" => Ok(Order::Ascending),
            _ => Err("must be desc or asc"),
        });
        let expand = self.several("expand", |name| match expandable.contains(&name) {
            true => Ok(name.to_owned()),
            false if expandable.is_empty() => Err("nothing can be expanded in this list".to_owned()),
            false => Err(format!("can be {}", expandable.join(", "))),
        });
        for name in self.parameters.keys() {
            self.faults.add(name, "unknown_parameter", "is not a parameter of this list");
        }
        self.faults.finish()?;
        let page =
            PageRequest { limit: limit.unwrap_or(DEFAULT_LIMIT), after, order: order.unwrap_or(otherwise) };
        let given = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(ListRequest { page, expand, given })
    }
}

impl ListRequest {
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
