//! Events for many endpoints: the parts after the first.

use std::sync::OnceLock;

use model::clock::Timestamp;
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::composite::add_rows;
use super::group::{ATTEMPTS, changes_too_often, numbered};
use super::link::Link;
use super::publish::{self, DeliveryRow, deliver};
use super::timeline::timeline;
use super::{Effects, FanOut, Shared};
use crate::configuration::Version;
use crate::publishing::{NewDelivery, ToWake};

/// Moves the mark on,
const MOVE_ON: &str =
    "UPDATE fan_outs f SET written = g.written_then, moved_at = g.now FROM given g, known k";
/// or takes it away after the last part.
const END: &str = "DELETE FROM fan_outs f USING given g, known k";

/// What a replay has sent meanwhile waits, or has ended.
const UNLESS_THERE: &str =
    "WHERE NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.id = d.id) ON CONFLICT (id) DO NOTHING";

/// Writes the next part, in one statement. What there is to tell then; `None` if
/// somebody else has written it.
///
/// It is not made sure that a second machine has it: a part that is lost is
/// still owed, by the mark, which is lost with it or not at all.
pub(super) async fn write(
    link: &mut Link,
    shared: &Shared,
    fan_out: &FanOut,
) -> sqlx::Result<Option<Effects>> {
    for _ in 0..ATTEMPTS {
        let version = shared.configuration.version_in_history();
        let deliveries = fan_out.next_part(shared);
        let wake = ToWake::of(deliveries.iter());
        let arguments = arguments(fan_out, &version, &deliveries, &wake, shared.env.now())?;
        let sql = statement(fan_out.ends());
        let (is_moved, is_newest): (bool, bool) = link
            .ask(async |connection| sqlx::query_as_with(sql, arguments).fetch_one(connection).await)
            .await?;
        if is_moved {
            let mut effects = Effects::default();
            effects.add_woken(wake);
            return Ok(Some(effects));
        }
        if is_newest {
            return Ok(None);
        }
        link.ask(async |connection| shared.refresh_snapshot(connection).await).await?;
    }
    Err(changes_too_often())
}

fn arguments(
    fan_out: &FanOut,
    version: &Version,
    deliveries: &[NewDelivery],
    wake: &ToWake,
    now: Timestamp,
) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    arguments.add(fan_out.key).map_err(sqlx::Error::Encode)?;
    for number in [fan_out.written as i64, fan_out.written_then() as i64, now.as_micros()] {
        arguments.add(number).map_err(sqlx::Error::Encode)?;
    }
    arguments.add(version.number).map_err(sqlx::Error::Encode)?;
    arguments.add(&*version.history).map_err(sqlx::Error::Encode)?;
    let event = &*fan_out.event;
    let back = -(event.sequence as i64);
    add_rows(&mut arguments, deliveries.iter().map(|new| DeliveryRow { new, event, place: 1, back }))?;
    publish::add_woken(wake, &mut arguments)?;
    Ok(arguments)
}

fn statement(ends: bool) -> &'static str {
    static TEXTS: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
    TEXTS[usize::from(ends)].get_or_init(|| {
        let mark = if ends { END } else { MOVE_ON };
        numbered(&format!(
            include_str!("sql/part.sql"),
            timeline = timeline!(),
            mark = mark,
            deliver = deliver(UNLESS_THERE)
        ))
    })
}
