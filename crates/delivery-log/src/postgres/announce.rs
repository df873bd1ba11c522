//! Telling other processes what they should look at.
//!
//! A publish that finds no place in a lane of its own process, a replay, a
//! new URL: whoever owns the lane learns of it by one notification, which is
//! sent outside the transaction and gathers what happens meanwhile. What is
//! lost is found by looking around.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use uuid::Uuid;

use model::ids::{DeliveryId, EndpointId};

use super::Shared;
use super::link::within;
use crate::hand_off::{Fate, HandOff, ReadyDelivery, Reservation};
use crate::lanes::Epoch;

const CHANNEL: &str = "posthorn";
/// How many announcements may wait; more are left to be found.
const QUEUE: usize = 8_192;
/// Between two notifications.
const PAUSE: Duration = Duration::from_millis(5);
/// A notification holds less than 8,000 bytes.
const MAX_BYTES: usize = 7_900;
/// After so long without a word, the listener is made anew.
const SILENCE: Duration = Duration::from_secs(30);
/// Before the next try to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// One announcement. Its text is a letter and ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum News {
    Work(EndpointId),
    Test(EndpointId),
    HoldLifted(EndpointId),
    Withdrawn(EndpointId, DeliveryId),
}

impl News {
    fn write(self, text: &mut String) {
        let (letter, endpoint, delivery) = match self {
            Self::Work(endpoint) => ('w', endpoint, None),
            Self::Test(endpoint) => ('t', endpoint, None),
            Self::HoldLifted(endpoint) => ('h', endpoint, None),
            Self::Withdrawn(endpoint, delivery) => ('x', endpoint, Some(delivery)),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push(letter);
        text.push_str(&endpoint.0.simple().to_string());
        if let Some(delivery) = delivery {
            text.push_str(&delivery.0.simple().to_string());
        }
    }

    fn read(text: &str) -> Option<Self> {
        let id = |text: Option<&str>| text.and_then(|text| Uuid::try_parse(text).ok());
        let endpoint = EndpointId(id(text.get(1..33))?);
        Some(match text.get(..1)? {
            "w" => Self::Work(endpoint),
            "t" => Self::Test(endpoint),
            "h" => Self::HoldLifted(endpoint),
            "x" => Self::Withdrawn(endpoint, DeliveryId(id(text.get(33..65))?)),
            _ => return None,
        })
    }

    fn tell(self, local: &dyn HandOff) {
        match self {
            Self::Work(endpoint) => local.wake(&[endpoint]),
            Self::Test(endpoint) => local.wake_for_test(endpoint),
            Self::HoldLifted(endpoint) => local.lift_hold(endpoint),
            Self::Withdrawn(endpoint, delivery) => local.withdraw(endpoint, delivery),
        }
    }
}

/// Tells this process, and the others where it is not its own affair.
pub(super) struct Everywhere {
    local: Arc<dyn HandOff>,
    outbox: mpsc::Sender<News>,
}

impl Everywhere {
    pub(super) fn new(local: Arc<dyn HandOff>, outbox: mpsc::Sender<News>) -> Self {
        Self { local, outbox }
    }

    fn announce(&self, endpoint: EndpointId, news: News) {
        if !self.local.owns(endpoint) && self.outbox.try_send(news).is_err() {
            tracing::debug!("too much to announce; polling will find the rest");
        }
    }
}

impl HandOff for Everywhere {
    fn owns(&self, endpoint: EndpointId) -> bool {
        self.local.owns(endpoint)
    }

    fn reserve(&self, endpoint: EndpointId, bytes: usize) -> Option<Epoch> {
        self.local.reserve(endpoint, bytes)
    }

    fn hand_over(&self, ready: Vec<ReadyDelivery>) {
        self.local.hand_over(ready);
    }

    fn give_up(&self, reserved: &[Reservation], fate: Fate) {
        self.local.give_up(reserved, fate);
    }

    fn wake(&self, endpoints: &[EndpointId]) {
        endpoints.iter().for_each(|endpoint| self.announce(*endpoint, News::Work(*endpoint)));
        self.local.wake(endpoints);
    }

    fn wake_for_test(&self, endpoint: EndpointId) {
        self.announce(endpoint, News::Test(endpoint));
        self.local.wake_for_test(endpoint);
    }

    fn lift_hold(&self, endpoint: EndpointId) {
        self.announce(endpoint, News::HoldLifted(endpoint));
        self.local.lift_hold(endpoint);
    }

    fn withdraw(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.announce(endpoint, News::Withdrawn(endpoint, delivery));
        self.local.withdraw(endpoint, delivery);
    }
}

/// Where announcements are put.
pub(super) fn outbox() -> (Outbox, Inbox) {
    mpsc::channel(QUEUE)
}

pub(super) type Outbox = mpsc::Sender<News>;
pub(super) type Inbox = mpsc::Receiver<News>;

/// Sends what is to be announced, until the store is gone.
pub(super) async fn send(database: PgPool, mut news: Inbox) {
    while let Some(first) = news.recv().await {
        let mut told = HashSet::new();
        let mut text = String::new();
        let mut next = Some(first);
        while let Some(one) = next {
            if told.insert(one) {
                one.write(&mut text);
            }
            next = if text.len() < MAX_BYTES - 70 { news.try_recv().ok() } else { None };
        }
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text);
        let sent = within(notify.execute(&database)).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "a notification was not sent; polling will find its work");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listens to what others announce, until the store is gone.
pub(super) async fn listen(connect: PgPool, shared: Weak<Shared>) {
    while shared.strong_count() > 0 && !connect.is_closed() {
        if let Err(error) = listen_once(&connect, &shared).await {
            tracing::debug!(%error, "cannot listen to other processes");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen_once(connect: &PgPool, shared: &Weak<Shared>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(connect).await?;
    listener.listen(CHANNEL).await?;
    // What was missed meanwhile is found by looking around.
    loop {
        // One that hears nothing for so long may have been cut off without a word.
        let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else { return Ok(()) };
        let Some(notification) = heard? else { return Ok(()) };
        let Some(shared) = shared.upgrade() else { return Ok(()) };
        let local = shared.extra.local.get();
        let news = notification.payload().split(' ').filter_map(News::read);
        // What this process announces itself is not its own affair, but it may become it.
        news.for_each(|one| one.tell(local.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_as_they_were_written() {
        let (endpoint, delivery) = (EndpointId(Uuid::from_u128(7)), DeliveryId(Uuid::from_u128(8)));
        let all = [
            News::Work(endpoint),
            News::Test(endpoint),
            News::HoldLifted(endpoint),
            News::Withdrawn(endpoint, delivery),
        ];
        let mut text = String::new();
        all.into_iter().for_each(|news| news.write(&mut text));
        assert_eq!(text.split(' ').filter_map(News::read).collect::<Vec<_>>(), all);
        assert_eq!(News::read("w123"), None);
        assert_eq!(News::read("ä"), None);
    }
}
