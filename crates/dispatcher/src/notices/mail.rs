//! Mails to the contacts of a tenant.

use std::error::Error;

use lettre::message::{Mailbox, Message, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use model::causes::with_causes;
use model::entropy::Entropy;
use secrecy::{ExposeSecret as _, SecretString};

/// What mails are sent with.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// Where they are handed in: `smtp://` or `smtps://`, perhaps with a password.
    pub smtp_url: SecretString,
    /// Who sends them.
    pub from: String,
}

/// Why no mails can be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Not the URL of an SMTP server.
    #[error("smtp_url must be such as smtps://user:password@mail.example:465")]
    Url,
    /// Not the address of a sender.
    #[error("mail_from must be a mail address")]
    From,
}

/// Hands mails in.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    pub(crate) fn new(settings: &MailSettings) -> Result<Self, MailError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.smtp_url.expose_secret())
            .map_err(|_| MailError::Url)?
            .build();
        Ok(Self { transport, from: settings.from.parse().map_err(|_| MailError::From)? })
    }

    /// Sends a text to everybody in `to`, each in a mail of their own: contacts
    /// need not know of one another.
    pub(crate) async fn send(&self, to: &[String], subject: &str, text: &str, entropy: &dyn Entropy) {
        for address in to {
            let mut id = [0; 16];
            entropy.fill(&mut id);
            if let Err(error) = self.send_one(address, subject, text, u128::from_ne_bytes(id)).await {
                tracing::warn!(error = %with_causes(error.as_ref()), "a contact was not mailed");
            }
        }
    }

    async fn send_one(
        &self,
        to: &str,
        subject: &str,
        text: &str,
        id: u128,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let to = to.parse::<Mailbox>()?;
        let mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .message_id(Some(format!("<{id:032x}@{}>", self.from.email.domain())))
            .singlepart(SinglePart::plain(text.to_owned()))?;
        self.transport.send(mail).await?;
        Ok(())
    }
}
