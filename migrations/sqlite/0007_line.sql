-- The ways that calls take through their dialplan, and what the list of calls is found and sorted by.

-- Every version of a dialplan under which a call was answered. fingerprint: of what it says, without comments. source: the file's text, to draw it.
CREATE TABLE dialplan (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    source TEXT NOT NULL,
    first_used_at DATETIME NOT NULL
);

-- seconds: from the answer to the end. outcome: what came of it. last_step: the state in which it ended. path: the whole way, states by their number in
-- the plan, without the digits of a code (src/voice/path.rs).
ALTER TABLE call ADD COLUMN seconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE call ADD COLUMN outcome TEXT NOT NULL DEFAULT 'ended'
    CHECK (outcome IN ('registered', 'hung_up', 'ended', 'failed', 'abandoned', 'refused'));
ALTER TABLE call ADD COLUMN dialplan_id BIGINT REFERENCES dialplan (id);
ALTER TABLE call ADD COLUMN last_step TEXT;
ALTER TABLE call ADD COLUMN path TEXT;

-- Of calls from before, as much as can be known.
DROP TRIGGER call_no_update;
UPDATE call SET
    seconds = CASE WHEN answered_at IS NULL THEN 0 ELSE MAX(0, CAST((julianday(ended_at) - julianday(answered_at)) * 86400 + 0.01 AS INTEGER)) END,
    outcome = CASE
        WHEN EXISTS (SELECT 1 FROM operation o WHERE o.call_id = call.id AND o.decision = 'accepted') THEN 'registered'
        WHEN status = 487 THEN 'abandoned'
        WHEN status >= 300 THEN 'refused'
        WHEN cause IN ('caller_hung_up', 'we_hung_up', 'abandoned') THEN 'ended'
        ELSE 'failed' END;
CREATE TRIGGER call_no_update BEFORE UPDATE ON call BEGIN SELECT RAISE(ABORT, 'call is append-only'); END;

-- A list is always of one ente and some days. Whatever it is filtered or sorted by stands in the index, so that only the calls that are shown are read.
DROP INDEX call_of_ente;
CREATE INDEX call_of_ente ON call (ente_id, started_at, id, trunk, outcome, last_step, seconds, mos);
CREATE INDEX call_of_number ON call (ente_id, SUBSTR(caller, LENGTH(caller) - 3), started_at, id);

-- How many calls went which way on which day; written in the transaction that writes the calls. A row is a state that was reached (from_step is empty), a way
-- from one state to another, or an end (to_step is empty; way: the call's outcome). calls: each once; passes: as often as they went there.
CREATE TABLE line_traffic (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    day DATE NOT NULL,
    dialplan_id BIGINT NOT NULL REFERENCES dialplan (id),
    from_step TEXT NOT NULL,
    way TEXT NOT NULL,
    to_step TEXT NOT NULL,
    calls BIGINT NOT NULL,
    passes BIGINT NOT NULL,
    PRIMARY KEY (ente_id, day, dialplan_id, from_step, way, to_step)
);

-- Where several nodes share a database: each one's picture of its calls now, as JSON, for the others. Old ones are swept away.
CREATE TABLE live_line (
    node TEXT NOT NULL,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    at DATETIME NOT NULL,
    picture TEXT NOT NULL,
    PRIMARY KEY (node, ente_id)
);
