//! The body that a receiver gets.

use std::fmt;
use std::str::FromStr;

use crate::calls::Format;
use crate::event::{Event, EventData};

/// How much of an event an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadMode {
    /// The envelope with the publisher's data.
    #[default]
    Full,
    /// The envelope with a URL where the data can be read.
    Thin,
    /// The publisher's bytes alone.
    Data,
}

/// A text that names no payload mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be \"full\", \"thin\" or \"data\"")]
pub struct UnknownPayloadMode;

impl PayloadMode {
    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Thin => "thin",
            Self::Data => "data",
        }
    }
}

impl FromStr for PayloadMode {
    type Err = UnknownPayloadMode;

    fn from_str(text: &str) -> Result<Self, UnknownPayloadMode> {
        [Self::Full, Self::Thin, Self::Data]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(UnknownPayloadMode)
    }
}

impl fmt::Display for PayloadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The form of one delivery's body, fixed when the event is published, so
/// that its bytes are the same at every retry and replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadForm {
    /// [`PayloadMode::Full`].
    Full,
    /// [`PayloadMode::Thin`], with the public URL as it was at publish.
    Thin {
        /// Where the deployment is reached, without a slash at its end.
        public_url: String,
    },
    /// [`PayloadMode::Data`].
    Data,
    /// A CloudEvents 1.0 envelope in the JSON format, structured mode.
    CloudEvents {
        /// Where the deployment is reached: the source of the event.
        public_url: String,
        /// Whether the data is only pointed to.
        thin: bool,
    },
}

/// The content type of a structured CloudEvents body.
pub const CLOUDEVENTS_TYPE: &str = "application/cloudevents+json; charset=utf-8";

impl PayloadForm {
    /// The form for an endpoint's mode and format.
    pub fn new(mode: PayloadMode, format: Format, public_url: &str) -> Self {
        let public_url = || public_url.trim_end_matches('/').to_owned();
        match (mode, format) {
            (PayloadMode::Data, _) => Self::Data,
            (PayloadMode::Full, Format::Standard) => Self::Full,
            (PayloadMode::Thin, Format::Standard) => Self::Thin { public_url: public_url() },
            (PayloadMode::Full, Format::CloudEvents) => {
                Self::CloudEvents { public_url: public_url(), thin: false }
            }
            (PayloadMode::Thin, Format::CloudEvents) => {
                Self::CloudEvents { public_url: public_url(), thin: true }
            }
        }
    }

    /// The mode of this form.
    pub fn mode(&self) -> PayloadMode {
        match self {
            Self::Full | Self::CloudEvents { thin: false, .. } => PayloadMode::Full,
            Self::Thin { .. } | Self::CloudEvents { thin: true, .. } => PayloadMode::Thin,
            Self::Data => PayloadMode::Data,
        }
    }

    /// The name by which a store keeps it, for ever.
    pub fn stored_name(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Thin { .. } => "thin",
            Self::Data => "data",
            Self::CloudEvents { thin: false, .. } => "cloudevents",
            Self::CloudEvents { thin: true, .. } => "cloudevents-thin",
        }
    }

    /// The form that a store kept.
    pub fn from_stored(name: &str, public_url: Option<&str>) -> Option<Self> {
        let public_url = public_url.unwrap_or_default().to_owned();
        Some(match name {
            "full" => Self::Full,
            "thin" => Self::Thin { public_url },
            "data" => Self::Data,
            "cloudevents" => Self::CloudEvents { public_url, thin: false },
            "cloudevents-thin" => Self::CloudEvents { public_url, thin: true },
            _ => return None,
        })
    }

    /// The public URL, where the body has it.
    pub fn public_url(&self) -> Option<&str> {
        match self {
            Self::Thin { public_url } | Self::CloudEvents { public_url, .. } => Some(public_url),
            Self::Full | Self::Data => None,
        }
    }

    /// What the body is, for `content-type`.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::CloudEvents { .. } => CLOUDEVENTS_TYPE,
            Self::Full | Self::Thin { .. } | Self::Data => "application/json",
        }
    }

    /// The exact bytes of the body.
    pub fn render(&self, event: &Event, data: &EventData) -> Vec<u8> {
        let mut body = Vec::with_capacity(256 + data.as_bytes().len());
        match self {
            Self::Data => return data.as_bytes().to_vec(),
            Self::Full | Self::Thin { .. } => envelope(&mut body, event),
            Self::CloudEvents { public_url, .. } => cloud_event(&mut body, event, public_url),
        }
        let place =
            |public_url: &str| serde_json::Value::from(format!("{public_url}/v1/events/{}", event.id));
        match self {
            Self::Thin { public_url } => put(&mut body, format_args!(r#","url":{}"#, place(public_url))),
            // The "dataref" extension of CloudEvents.
            Self::CloudEvents { public_url, thin: true } => {
                put(&mut body, format_args!(r#","dataref":{}"#, place(public_url)));
            }
            Self::CloudEvents { thin: false, .. } | Self::Full | Self::Data => {
                body.extend_from_slice(br#","data":"#);
                body.extend_from_slice(data.as_bytes());
            }
        }
        body.push(b'}');
        body
    }
}

/// Posthorn's own envelope, but for the data and its end.
fn envelope(body: &mut Vec<u8>, event: &Event) {
    let Event { event_type, id, schema_version, subject, sequence, .. } = event;
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
fn cloud_event(body: &mut Vec<u8>, event: &Event, public_url: &str) {
    let Event { event_type, id, schema_version, subject, sequence, .. } = event;
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
            assert_eq!(PayloadForm::from_stored(form.stored_name(), form.public_url()), Some(form.clone()));
            String::from_utf8(form.render(&event(), &data)).expect("UTF-8")
        };
        let attributes = r#"{"specversion":"1.0","id":"evt_01h455vb4pex5vsknk084sn02q","source":"https://posthorn.example","type":"order.paid","subject":"ord \"1\"","time":"2026-11-21T12:00:00.000Z","datacontenttype":"application/json","schemaversion":2,"revision":"7","sequence":"42""#;
        assert_eq!(render(PayloadMode::Full), format!(r#"{attributes},"data":{{"total": 1.10}}}}"#));
        let place = "https://posthorn.example/v1/events/evt_01h455vb4pex5vsknk084sn02q";
        assert_eq!(render(PayloadMode::Thin), format!(r#"{attributes},"dataref":"{place}"}}"#));
    }
}
