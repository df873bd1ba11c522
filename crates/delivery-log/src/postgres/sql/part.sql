-- A part of an event for many endpoints. Each question mark is an argument, in the
-- order of `arguments`. Nothing is written if the configuration is not the newest
-- any more, or the mark does not stand where it should. There is nothing to count:
-- the event has its number.
WITH given AS (
  SELECT ?::uuid AS event, ?::bigint AS written, ?::bigint AS written_then, ?::bigint AS now),
known AS MATERIALIZED (
  SELECT EXISTS (SELECT 1 FROM configuration WHERE version = ?::bigint)
    AND ?::text = {timeline} AS is_newest),
lasts AS (SELECT ARRAY[0::bigint] AS last),
ok AS MATERIALIZED (
  {mark}
  WHERE k.is_newest AND f.event = g.event AND f.written = g.written
  RETURNING g.now),
{deliver}
SELECT EXISTS (SELECT 1 FROM ok), (SELECT is_newest FROM known)
