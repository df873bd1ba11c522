//! The body that a receiver gets.

use std::borrow::Cow;
use std::fmt;

use crate::calls::Format;
use crate::event::{Event, EventData};

crate::words!(
    /// How much of an event an endpoint gets.
    PayloadMode, by default Full {
        /// The envelope with the publisher's data.
        Full = "full",
        /// The envelope with a URL where the data can be read.
        Thin = "thin",
        /// The publisher's bytes alone.
        Data = "data",
    }
);

/// The form of one delivery's body, fixed when the event is published, so
/// that its bytes are the same at every retry and replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadForm {
    shape: Shape,
    version: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// [`PayloadMode::Full`].
    Full,
    /// [`PayloadMode::Thin`], with the public URL as it was at publish,
    /// without a slash at its end.
    Thin { public_url: String },
    /// [`PayloadMode::Data`].
    Data,
    /// A CloudEvents 1.0 envelope in the JSON format, structured mode. The
    /// public URL is the source of the event; the data may only be pointed to.
    CloudEvents { public_url: String, thin: bool },
}

/// The content type of a structured CloudEvents body.
pub const CLOUDEVENTS_TYPE: &str = "application/cloudevents+json; charset=utf-8";

impl PayloadForm {
    /// The form for an endpoint's mode and format, in the event's own version.
    pub fn new(mode: PayloadMode, format: Format, public_url: &str) -> Self {
        let public_url = || public_url.trim_end_matches('/').to_owned();
        let shape = match (mode, format) {
            (PayloadMode::Data, _) => Shape::Data,
            (PayloadMode::Full, Format::Standard) => Shape::Full,
            (PayloadMode::Thin, Format::Standard) => Shape::Thin { public_url: public_url() },
            (PayloadMode::Full, Format::CloudEvents) => {
                Shape::CloudEvents { public_url: public_url(), thin: false }
            }
            (PayloadMode::Thin, Format::CloudEvents) => {
                Shape::CloudEvents { public_url: public_url(), thin: true }
            }
        };
        Self { shape, version: None }
    }

    /// The same form in an older version than the event's own.
    pub fn in_version(self, version: Option<u32>) -> Self {
        Self { version, ..self }
    }

    /// The version, if it is not the event's own.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The mode of this form.
    pub fn mode(&self) -> PayloadMode {
        match self.shape {
            Shape::Full | Shape::CloudEvents { thin: false, .. } => PayloadMode::Full,
            Shape::Thin { .. } | Shape::CloudEvents { thin: true, .. } => PayloadMode::Thin,
            Shape::Data => PayloadMode::Data,
        }
    }

    /// The name by which a store keeps it, for ever: `full`, or `full@1`.
    pub fn stored_name(&self) -> Cow<'static, str> {
        let name = match self.shape {
            Shape::Full => "full",
            Shape::Thin { .. } => "thin",
            Shape::Data => "data",
            Shape::CloudEvents { thin: false, .. } => "cloudevents",
            Shape::CloudEvents { thin: true, .. } => "cloudevents-thin",
        };
        match self.version {
            None => Cow::Borrowed(name),
            Some(version) => Cow::Owned(format!("{name}@{version}")),
        }
    }

    /// The form that a store kept.
    pub fn from_stored(name: &str, public_url: Option<&str>) -> Option<Self> {
        let public_url = || public_url.unwrap_or_default().to_owned();
        let (name, version) = match name.split_once('@') {
            None => (name, None),
            Some((name, version)) => (name, Some(version.parse().ok()?)),
        };
        let shape = match name {
            "full" => Shape::Full,
            "thin" => Shape::Thin { public_url: public_url() },
            "data" => Shape::Data,
            "cloudevents" => Shape::CloudEvents { public_url: public_url(), thin: false },
            "cloudevents-thin" => Shape::CloudEvents { public_url: public_url(), thin: true },
            _ => return None,
        };
        Some(Self { shape, version })
    }

    /// The public URL, where the body has it.
    pub fn public_url(&self) -> Option<&str> {
        match &self.shape {
            Shape::Thin { public_url } | Shape::CloudEvents { public_url, .. } => Some(public_url),
            Shape::Full | Shape::Data => None,
        }
    }

    /// What the body is, for `content-type`.
    pub fn content_type(&self) -> &'static str {
        match self.shape {
            Shape::CloudEvents { .. } => CLOUDEVENTS_TYPE,
            Shape::Full | Shape::Thin { .. } | Shape::Data => "application/json",
        }
    }

    /// The exact bytes of the body. `data` is that of the form's version.
    pub fn render(&self, event: &Event, data: &EventData) -> Vec<u8> {
        let mut body = Vec::with_capacity(256 + data.as_bytes().len());
        let version = self.version.unwrap_or(event.schema_version);
        match &self.shape {
            Shape::Data => return data.as_bytes().to_vec(),
            Shape::Full | Shape::Thin { .. } => envelope(&mut body, event, version),
            Shape::CloudEvents { public_url, .. } => cloud_event(&mut body, event, version, public_url),
        }
        let place = |public_url: &str| {
            let url = format!("{public_url}/v1/events/{}", event.id);
            serde_json::Value::from(match self.version {
                None => url,
                Some(version) => format!("{url}?schema_version={version}"),
            })
        };
        match &self.shape {
            Shape::Thin { public_url } => put(&mut body, format_args!(r#","url":{}"#, place(public_url))),
            // The "dataref" extension of CloudEvents.
            Shape::CloudEvents { public_url, thin: true } => {
                put(&mut body, format_args!(r#","dataref":{}"#, place(public_url)));
            }
            Shape::CloudEvents { thin: false, .. } | Shape::Full | Shape::Data => {
                body.extend_from_slice(br#","data":"#);
                body.extend_from_slice(data.as_bytes());
            }
        }
        body.push(b'}');
        body
    }
}

/// Posthorn's own envelope, but for the data and its end.
fn envelope(body: &mut Vec<u8>, event: &Event, schema_version: u32) {
    let Event { event_type, id, subject, sequence, .. } = event;
    // Type names need no escaping; a subject may.
    let subject = serde_json::Value::from(subject.as_str());
    put(
        body,
        format_args!(
            r#"{{"type":"{event_type}","timestamp":"{}","id":"{id}","schema_version":{schema_version},"subject":{subject}"#,
            event.occurred_at,
        ),
    );
    if let Some(revision) = event.revision {
        put(body, format_args!(r#","revision":{revision}"#));
    }
    put(body, format_args!(r#","sequence":{sequence}"#));
    if event.test {
        body.extend_from_slice(br#","test":true"#);
    }
}

/// The context attributes of CloudEvents 1.0.2, section 3, but for the data
/// and the end. Extensions have names of small letters, and numbers beyond 32
/// bits stand as texts.
fn cloud_event(body: &mut Vec<u8>, event: &Event, schema_version: u32, public_url: &str) {
    let Event { event_type, id, subject, sequence, .. } = event;
    let subject = serde_json::Value::from(subject.as_str());
    let source = serde_json::Value::from(if public_url.is_empty() { "urn:posthorn" } else { public_url });
    put(
        body,
        format_args!(
            r#"{{"specversion":"1.0","id":"{id}","source":{source},"type":"{event_type}","subject":{subject},"time":"{}","datacontenttype":"application/json","schemaversion":{schema_version}"#,
            event.occurred_at,
        ),
    );
    if let Some(revision) = event.revision {
        put(body, format_args!(r#","revision":"{revision}""#));
    }
    put(body, format_args!(r#","sequence":"{sequence}""#));
    if event.test {
        body.extend_from_slice(br#","test":true"#);
    }
}

fn put(body: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    use std::io::Write as _;
    body.write_fmt(text).expect("a Vec takes all that is written");
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Labels;
    use crate::event_type::EventType;
    use crate::ids::{EventId, ProjectId, TenantId};
    use crate::names::{OrderingKey, Subject};

    fn event() -> Event {
        Event {
            id: EventId(Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").expect("a UUID")),
            project: ProjectId(Uuid::nil()),
            tenant: TenantId(Uuid::nil()),
            event_type: EventType::parse("order.paid").expect("a type"),
            schema_version: 2,
            subject: Subject::parse("ord \"1\"").expect("a subject"),
            revision: Some(7),
            occurred_at: Timestamp::parse("2026-11-21T12:00:00Z").expect("a time"),
            ordering_key: OrderingKey::parse("ord_1").expect("a key"),
            labels: Labels::default(),
            sequence: 42,
            test: false,
            created_at: Timestamp::EPOCH,
        }
    }

    fn render(mode: PayloadMode, event: &Event, data: &str) -> String {
        let data = EventData::parse(data, 1_000).expect("data");
        let body = PayloadForm::new(mode, Format::Standard, "https://posthorn.example/").render(event, &data);
        String::from_utf8(body).expect("UTF-8")
    }

    #[test]
    fn a_full_body_is_the_envelope_around_the_publishers_bytes() {
        assert_eq!(
            render(PayloadMode::Full, &event(), r#"{"total": 1.10}"#),
            r#"{"type":"order.paid","timestamp":"2026-11-21T12:00:00.000Z","id":"evt_01h455vb4pex5vsknk084sn02q","schema_version":2,"subject":"ord \"1\"","revision":7,"sequence":42,"data":{"total": 1.10}}"#
        );
    }

    #[test]
    fn a_body_in_an_older_version_says_which_and_points_to_it() {
        let data = EventData::parse("{}", 10).expect("data");
        let form = |mode| PayloadForm::new(mode, Format::Standard, "https://p.example").in_version(Some(1));
        let text = |mode| String::from_utf8(form(mode).render(&event(), &data)).expect("UTF-8");
        assert!(text(PayloadMode::Full).contains(r#""schema_version":1,"#));
        assert!(text(PayloadMode::Thin).contains("02q?schema_version=1\""));
        let stored = form(PayloadMode::Thin);
        assert_eq!(stored.stored_name(), "thin@1");
        assert_eq!(PayloadForm::from_stored("thin@1", Some("https://p.example")), Some(stored));
    }

    #[test]
    fn a_thin_body_says_where_the_data_is() {
        let event = Event { revision: None, test: true, ..event() };
        assert_eq!(
            render(PayloadMode::Thin, &event, r#"{"total": 1.10}"#),
            r#"{"type":"order.paid","timestamp":"2026-11-21T12:00:00.000Z","id":"evt_01h455vb4pex5vsknk084sn02q","schema_version":2,"subject":"ord \"1\"","sequence":42,"test":true,"url":"https://posthorn.example/v1/events/evt_01h455vb4pex5vsknk084sn02q"}"#
        );
    }

    #[test]
    fn a_data_body_is_what_was_published_alone() {
        assert_eq!(render(PayloadMode::Data, &event(), r#"{"total": 1.10}"#), r#"{"total": 1.10}"#);
    }

    #[test]
    fn a_cloud_event_has_its_attributes_and_the_publishers_bytes() {
        let data = EventData::parse(r#"{"total": 1.10}"#, 1_000).expect("data");
        let render = |mode| {
            let form = PayloadForm::new(mode, Format::CloudEvents, "https://posthorn.example");
            assert_eq!(PayloadForm::from_stored(&form.stored_name(), form.public_url()), Some(form.clone()));
            String::from_utf8(form.render(&event(), &data)).expect("UTF-8")
        };
        let attributes = r#"{"specversion":"1.0","id":"evt_01h455vb4pex5vsknk084sn02q","source":"https://posthorn.example","type":"order.paid","subject":"ord \"1\"","time":"2026-11-21T12:00:00.000Z","datacontenttype":"application/json","schemaversion":2,"revision":"7","sequence":"42""#;
        assert_eq!(render(PayloadMode::Full), format!(r#"{attributes},"data":{{"total": 1.10}}}}"#));
        let place = "https://posthorn.example/v1/events/evt_01h455vb4pex5vsknk084sn02q";
        assert_eq!(render(PayloadMode::Thin), format!(r#"{attributes},"dataref":"{place}"}}"#));
    }
}
