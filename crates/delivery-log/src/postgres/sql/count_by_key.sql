-- Counts by key, and makes the counters of new tenants.
counted AS (
  INSERT INTO tenant_sequences AS s (tenant, last)
  SELECT t.tenant, t.events FROM unnest(?::tenant_count[]) AS t, ok
  ON CONFLICT (tenant) DO UPDATE SET last = s.last + excluded.last
  RETURNING tenant, last, s.ctid AS place),
lasts AS MATERIALIZED (
  SELECT array_agg(last ORDER BY tenant) AS last, array_agg(place::text ORDER BY tenant) AS places,
    1 AS all_found
  FROM counted)
