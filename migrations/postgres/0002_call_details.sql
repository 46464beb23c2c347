-- More of each call, for whoever has to explain it to a caller or to the provider.
-- diverted_from: the number called first, where the call was forwarded. q850: the telephone network's cause. reason: the peer's `Reason`.
-- dtmf: by which ways keys came in. loss: 1/10,000 of the caller's packets; jitter_us: microseconds; mos: mean opinion score times 100.
ALTER TABLE call ADD COLUMN ringing_at TIMESTAMPTZ;
ALTER TABLE call ADD COLUMN diverted_from TEXT;
ALTER TABLE call ADD COLUMN user_agent TEXT;
ALTER TABLE call ADD COLUMN q850 BIGINT CHECK (q850 BETWEEN 1 AND 127);
ALTER TABLE call ADD COLUMN reason TEXT;
ALTER TABLE call ADD COLUMN released_by TEXT CHECK (released_by IN ('caller', 'line'));
ALTER TABLE call ADD COLUMN srtp BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE call ADD COLUMN dtmf TEXT;
ALTER TABLE call ADD COLUMN packets_lost BIGINT;
ALTER TABLE call ADD COLUMN loss BIGINT;
ALTER TABLE call ADD COLUMN jitter_us BIGINT;
ALTER TABLE call ADD COLUMN mos BIGINT;

CREATE INDEX call_of_ente ON call (ente_id, started_at, id);

-- A record is never changed. It may be deleted: callers' numbers are not kept for ever.
CREATE TRIGGER call_no_update BEFORE UPDATE ON call FOR EACH ROW EXECUTE FUNCTION append_only();
