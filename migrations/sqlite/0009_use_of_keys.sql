-- Who made a key, and when and from where it was used last.
ALTER TABLE api_keys ADD COLUMN created_by BLOB;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_from TEXT;
