-- Counts where the counters were last. If one is there no longer, the whole
-- statement fails, by a division by zero: there is no other way to say so.
-- The tenant is compared in a way that no index can serve: it would be chosen.
tenants AS MATERIALIZED (SELECT * FROM unnest(?::tenant_count[])),
counted AS (
  UPDATE tenant_sequences s SET last = s.last + t.events FROM tenants t, ok
  WHERE s.ctid = t.place::tid AND NOT s.tenant <> t.tenant
  RETURNING s.tenant, s.last, s.ctid AS place),
lasts AS MATERIALIZED (
  SELECT array_agg(last ORDER BY tenant) AS last, array_agg(place::text ORDER BY tenant) AS places,
    1 / CASE WHEN count(*) IN (0, (SELECT count(*) FROM tenants))
      AND (count(*) > 0 OR NOT EXISTS (SELECT 1 FROM ok)) THEN 1 ELSE 0 END AS all_found
  FROM counted)
