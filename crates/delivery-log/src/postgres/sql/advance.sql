-- Writes the next states of deliveries. The question mark is the argument of
-- `finish::add_to`.
f AS MATERIALIZED (SELECT * FROM unnest(?::next_state[])),
gone AS (
  DELETE FROM waiting w USING f
  WHERE f.ended AND w.id = f.delivery AND w.claimed = f.epoch AND w.attempts < f.number
  RETURNING w.id, w.project, w.tenant, w.endpoint, w.event, w.created_at, w.payload, w.public_url,
    w.order_key, w.order_sequence,
    f.at, f.number, f.status, f.failure, f.next_trigger, f.error_class, f.http_status),
done AS (
  INSERT INTO deliveries (id, project, tenant, endpoint, event, created_at, updated_at, attempts,
    status, failure, trigger, last_error, last_status, payload, public_url, order_key, order_sequence)
  SELECT id, project, tenant, endpoint, event, created_at, at, number, status, failure, next_trigger,
    error_class, http_status, payload, public_url, order_key, order_sequence
  FROM gone),
again AS (
  UPDATE waiting w SET status = f.status, due_at = f.due_at, claimed = NULL, attempts = f.number,
    tries = f.tries, rejections = f.rejections, trigger = f.next_trigger, last_error = f.error_class,
    last_status = f.http_status, updated_at = f.at
  FROM f
  WHERE NOT f.ended AND w.id = f.delivery AND w.claimed = f.epoch AND w.attempts < f.number
  RETURNING w.id)
