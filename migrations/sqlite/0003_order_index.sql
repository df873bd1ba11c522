-- Which deliveries stand before another in its order.
CREATE INDEX deliveries_in_order ON deliveries (endpoint, order_key, order_sequence)
    WHERE order_key IS NOT NULL AND due_at IS NOT NULL;
