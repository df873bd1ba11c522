-- Writes the attempts.
logged AS (
  INSERT INTO attempts AS a (delivery, id, number, trigger, started_at, dns_us, connect_us,
    first_byte_us, total_us, remote_ip, http_version, request_headers, http_status, response_headers,
    body, truncated, error_class, error_detail, next_attempt_at, next_reason)
  SELECT * FROM unnest(?::new_attempt[])
  {again}
  RETURNING a.delivery)
