-- Marks what is due as claimed, and reads all that its calls need: a row for
-- each delivery, and one for each lane with the time at which it has more
-- and with how far it has looked.
--
-- What an earlier owner had claimed may be claimed again; what this one has
-- in hand, or a later one, may not. Of each lane, the last delivery is the
-- one with which its bytes are reached. What goes in order and is behind
-- another of its key is looked at and left.
WITH lane AS MATERIALIZED (
  SELECT w.*
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::uuid[])
    WITH ORDINALITY AS w (endpoint, epoch, now, count, bytes, after_due, after_id, place)
  JOIN lanes l ON l.endpoint = w.endpoint AND l.epoch = w.epoch AND l.owner IS NOT NULL),
seen AS MATERIALIZED (
  SELECT lane.place, lane.epoch, lane.bytes, lane.count, d.*
  FROM lane CROSS JOIN LATERAL (
    SELECT w.id, w.due_at, w.event, w.order_key, {behind} AS behind
    FROM waiting w
    WHERE w.endpoint = lane.endpoint AND w.due_at <= lane.now
      AND (w.claimed IS NULL OR w.claimed < lane.epoch)
      AND (w.due_at, w.id) > (lane.after_due, lane.after_id)
    ORDER BY w.due_at, w.id
    LIMIT CASE WHEN EXISTS (
        SELECT 1 FROM waiting o WHERE o.endpoint = lane.endpoint AND o.order_key IS NOT NULL)
      THEN GREATEST($8, lane.count) ELSE lane.count END) d),
free AS (
  SELECT s.place, s.epoch, s.bytes, s.id, s.due_at, row_number() OVER w AS number, s.count,
    sum(octet_length(e.data)) OVER w - octet_length(e.data) AS bytes_before
  FROM seen s JOIN events e ON e.id = s.event
  WHERE NOT s.behind
  WINDOW w AS (PARTITION BY s.place ORDER BY s.due_at, s.id)),
kept AS MATERIALIZED (
  SELECT * FROM free WHERE number <= count AND (bytes_before < bytes OR bytes_before = 0)),
taken AS (
  UPDATE waiting w SET claimed = kept.epoch FROM kept
  WHERE w.id = kept.id AND (w.claimed IS NULL OR w.claimed < kept.epoch)
  RETURNING kept.place, kept.due_at, w.event, w.id AS delivery_id, w.payload, w.public_url, w.attempts,
    w.tries, w.rejections, w.schedule_since, w.trigger, w.last_error, w.order_key),
looked AS (
  SELECT place, count(*) AS looked, count(*) FILTER (WHERE behind) AS behind,
    (array_agg(id ORDER BY due_at DESC, id DESC))[1] AS last_id, max(due_at) AS last_due
  FROM seen GROUP BY place),
last AS (
  SELECT DISTINCT ON (place) place, due_at, id FROM kept ORDER BY place, due_at DESC, id DESC)
SELECT t.*, NULL::uuid AS last_id, NULL::bigint AS last_due, NULL::bigint AS looked, e.*
FROM taken t JOIN events e ON e.id = t.event
UNION ALL
SELECT lane.place,
  CASE WHEN coalesce(looked.behind, 0) = 0 AND lane.after_due < 0
    THEN (
      SELECT w.due_at FROM waiting w
      WHERE w.endpoint = lane.endpoint AND (w.claimed IS NULL OR w.claimed < lane.epoch)
        AND (w.due_at, w.id) > (coalesce(last.due_at, -1), coalesce(last.id, lane.endpoint))
      ORDER BY w.due_at, w.id LIMIT 1)
    ELSE (
      SELECT min(w.due_at) FROM waiting w
      WHERE w.endpoint = lane.endpoint AND w.due_at > lane.now) END,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  looked.last_id, looked.last_due, looked.looked, (NULL::events).*
FROM lane
LEFT JOIN last ON last.place = lane.place
LEFT JOIN looked ON looked.place = lane.place
