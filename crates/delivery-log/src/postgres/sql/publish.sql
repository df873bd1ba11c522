-- What a group of publishes becomes. Each question mark is an argument, in the
-- order of `Plan::add_to`. First what is compared, then the counters, then the rest:
-- nothing is written unless the plan was made for the newest configuration.
given AS (SELECT ?::bigint AS version, ?::text AS history, ?::bigint AS now),
ok AS MATERIALIZED (
  SELECT g.now FROM given g JOIN configuration c ON c.version = g.version
  WHERE g.history = {timeline}),
{count},
new_events AS (
  INSERT INTO events (id, project, tenant, sequence, occurred_at, created_at, revision,
    schema_version, test, type, subject, ordering_key, labels, unmatched, data, older)
  SELECT n.id, n.project, n.tenant, l.last[n.place] - n.back, n.occurred_at, ok.now, n.revision,
    n.schema_version, n.test, n.type, n.subject, n.ordering_key, n.labels, n.unmatched, n.data, n.older
  FROM unnest(?::event_to_come[]) AS n, ok, lasts l),
new_keys AS (
  INSERT INTO idempotency_keys (project, key, fingerprint, event, sequence, expires_at)
  SELECT k.project, k.key, k.fingerprint, k.event, l.last[k.place] - k.back, k.expires_at
  FROM unnest(?::new_key[]) AS k, ok, lasts l),
{deliver}
