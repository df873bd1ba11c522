-- Writing an attempt twice changes nothing, but what really happened takes
-- the place of "may have been interrupted" (error class 13). Looking for
-- either costs as much again as writing, so it is done when one was there.
ON CONFLICT (delivery, number) DO UPDATE SET
  id = excluded.id, trigger = excluded.trigger, started_at = excluded.started_at,
  dns_us = excluded.dns_us, connect_us = excluded.connect_us, first_byte_us = excluded.first_byte_us,
  total_us = excluded.total_us, remote_ip = excluded.remote_ip, http_version = excluded.http_version,
  request_headers = excluded.request_headers, http_status = excluded.http_status,
  response_headers = excluded.response_headers, body = excluded.body, truncated = excluded.truncated,
  error_class = excluded.error_class, error_detail = excluded.error_detail
WHERE a.error_class = 13
