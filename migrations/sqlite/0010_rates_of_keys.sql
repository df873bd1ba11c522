-- How many requests a second a key may make, where that is its own.
ALTER TABLE api_keys ADD COLUMN rate_limit INTEGER;
