//! Events for many endpoints: the parts after the first.

use std::sync::OnceLock;

use model::clock::Timestamp;
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::composite::add_rows;
use super::group::numbered;
use super::link::Link;
use super::publish::{self, DeliveryRow, deliver};
use super::{Effects, FanOut, Shared};
use crate::publishing::{NewDelivery, ToWake};

const GIVEN: &str = "WITH given AS (SELECT ?::uuid AS event, ?::bigint AS written, ?::bigint AS written_then, \
      ?::bigint AS now), lasts AS (SELECT ARRAY[0::bigint] AS last), ";
/// Moves the mark on, if it stands where it should. There is nothing to count:
/// the event has its number.
const MOVE_ON: &str = "ok AS MATERIALIZED (UPDATE fan_outs f SET written = g.written_then, moved_at = g.now \
      FROM given g WHERE f.event = g.event AND f.written = g.written RETURNING g.now), ";
/// The same for the last part.
const END: &str = "ok AS MATERIALIZED (DELETE FROM fan_outs f USING given g \
      WHERE f.event = g.event AND f.written = g.written RETURNING g.now), ";

/// What a replay has sent meanwhile waits, or has ended.
const DELIVER: &str =
    deliver!(" WHERE NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.id = d.id) ON CONFLICT (id) DO NOTHING");

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
    if fan_out.has_unknown_target(shared) {
        // It may have been made elsewhere, a moment ago; if not, it was deleted.
        link.ask(async |connection| shared.refresh_snapshot(connection).await).await?;
    }
    let deliveries = fan_out.next_part(shared);
    let wake = ToWake::of(deliveries.iter());
    let arguments = arguments(fan_out, &deliveries, &wake, shared.surroundings.now())?;
    let sql = statement(fan_out.ends());
    let moved: i64 = link
        .ask(async |connection| sqlx::query_scalar_with(sql, arguments).fetch_one(connection).await)
        .await?;
    if moved == 0 {
        return Ok(None);
    }
    let mut effects = Effects::default();
    effects.add_woken(wake);
    Ok(Some(effects))
}

fn arguments(
    fan_out: &FanOut,
    deliveries: &[NewDelivery],
    wake: &ToWake,
    now: Timestamp,
) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    arguments.add(fan_out.key).map_err(sqlx::Error::Encode)?;
    for number in [fan_out.written as i64, fan_out.written_then() as i64, now.as_micros()] {
        arguments.add(number).map_err(sqlx::Error::Encode)?;
    }
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
        numbered(&format!("{GIVEN}{mark}{DELIVER} SELECT count(*) FROM ok"))
    })
}
