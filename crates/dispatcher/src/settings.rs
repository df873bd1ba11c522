//! What an operator can set.

use std::net::SocketAddr;
use std::time::Duration;

use model::address::TargetPolicy;
use secrecy::SecretString;

use crate::notices::mail::MailSettings;

/// How the dispatcher works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many calls may be under way at once, in all.
    pub slots: usize,
    /// Which addresses may be called.
    pub targets: TargetPolicy,
    /// Who looks names up; the system's servers if there are none.
    pub name_servers: Vec<SocketAddr>,
    /// How many connections there may be to endpoints.
    pub max_connections: usize,
    /// A forward proxy for all calls; its URL may hold a password.
    pub egress_proxy: Option<SecretString>,
    /// How mails are sent, if they are.
    pub mail: Option<MailSettings>,
    /// How often lanes that nobody owns are looked for.
    pub poll_interval: Duration,
    /// How long a lane is kept without work.
    pub idle_after: Duration,
    /// How long calls may go on when the dispatcher is asked to end.
    pub shutdown_grace: Duration,
    /// How often held and old deliveries are looked after.
    pub housekeeping_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 1_024,
            targets: TargetPolicy::default(),
            name_servers: Vec::new(),
            max_connections: 4_096,
            egress_proxy: None,
            mail: None,
            poll_interval: Duration::from_millis(500),
            idle_after: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(10),
            housekeeping_interval: Duration::from_secs(60),
        }
    }
}
