-- Who made a key, and when and from where it was used last.
ALTER TABLE api_keys ADD COLUMN created_by UUID;
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;
ALTER TABLE api_keys ADD COLUMN last_used_from TEXT;
