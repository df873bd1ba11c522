-- Writes deliveries, and wakes the lanes of those that are in nobody's hands.
new_deliveries AS (
  INSERT INTO waiting (id, project, tenant, endpoint, event, due_at, claimed, schedule_since,
    created_at, updated_at, attempts, tries, rejections, status, trigger, payload, public_url,
    order_key, order_sequence)
  SELECT d.id, d.project, d.tenant, d.endpoint, d.event, d.due_at, d.claimed, ok.now,
    ok.now, ok.now, 0, 0, 0, 0, d.trigger, d.payload, d.public_url,
    d.order_key, l.last[d.place] - d.back
  FROM unnest(?::delivery_to_come[]) AS d, ok, lasts l
  {unless_there}),
woken AS (
  UPDATE lanes SET wake_at = ok.now FROM unnest(?::uuid[]) AS w (endpoint), ok
  WHERE lanes.endpoint = w.endpoint AND lanes.wake_at > ok.now)
