-- no-transaction
-- Which deliveries stand before another in its order. Made beside all others,
-- which takes a while on a large table and locks nobody out.
CREATE INDEX CONCURRENTLY IF NOT EXISTS waiting_in_order ON waiting (endpoint, order_key, order_sequence)
    WHERE order_key IS NOT NULL;
