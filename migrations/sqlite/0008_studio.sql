-- What the office records for the line in place of the prompts that came with it.

-- sound: mono samples at 16 kHz, 16 bits, little-endian, trimmed and brought to the line's loudness. findings: JSON of what was found when it was examined.
-- taken_at: since when it counts as a version of the prompt; until then it is a draft of whoever brought it, and forgotten after a day.
CREATE TABLE recording (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    prompt TEXT NOT NULL,
    file_name TEXT NOT NULL,
    made_at DATETIME NOT NULL,
    actor TEXT NOT NULL,
    duration_ms BIGINT NOT NULL,
    findings TEXT NOT NULL,
    sound BLOB NOT NULL,
    taken_at DATETIME
);
CREATE INDEX recording_of_prompt ON recording (ente_id, prompt, id);
CREATE INDEX recording_draft ON recording (ente_id, made_at) WHERE taken_at IS NULL;

-- Which recording is spoken; no row: the one that came with the line.
CREATE TABLE prompt_voice (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    prompt TEXT NOT NULL,
    recording_id BIGINT NOT NULL REFERENCES recording (id),
    since DATETIME NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (ente_id, prompt)
);

-- Counts the changes of an ente's prompts: the nodes ask for it every few seconds, and load what has changed.
CREATE TABLE prompt_change (
    ente_id BIGINT PRIMARY KEY REFERENCES ente (id),
    version BIGINT NOT NULL
);
