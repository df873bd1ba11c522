-- Notes for whom the parts after the first are.
marks AS (
  INSERT INTO fan_outs (event, targets, written, moved_at)
  SELECT f.event, f.targets, 0, ok.now FROM unnest(?::uuid[], ?::bytea[]) AS f (event, targets), ok)
