-- Families as the office works with them: how they are found, edited by two clerks at once, imported with a way back.

-- version: counts the changes, so that whoever edits an old picture is told. sort_name: folded "surname name", what lists are sorted by.
ALTER TABLE guardian ADD COLUMN address TEXT;
ALTER TABLE guardian ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE guardian ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
CREATE INDEX guardian_by_name ON guardian (ente_id, sort_name, id);

ALTER TABLE child ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE child ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
CREATE INDEX child_by_name ON child (ente_id, sort_name, id, class_id);
CREATE INDEX child_by_diet ON child (ente_id, diet, sort_name, id, class_id);
CREATE INDEX child_by_fiscal_code ON child (ente_id, fiscal_code);
DROP INDEX child_in_class;
CREATE INDEX child_in_class ON child (class_id, sort_name, id);

-- sort_name: folded school and class.
ALTER TABLE school_class ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
CREATE INDEX class_by_name ON school_class (school_year_id, sort_name, id);

-- Adults with the same powers over a child, who are sent nothing (F3).
CREATE TABLE child_delegate (
    child_id BIGINT NOT NULL REFERENCES child (id),
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    position BIGINT NOT NULL,
    PRIMARY KEY (child_id, guardian_id)
);
CREATE INDEX children_of_delegate ON child_delegate (guardian_id);

-- The words by which each is found, folded (no accents, small letters): a search is a range of one of these indexes.
CREATE TABLE child_word (
    ente_id BIGINT NOT NULL,
    word TEXT NOT NULL,
    child_id BIGINT NOT NULL REFERENCES child (id),
    PRIMARY KEY (ente_id, word, child_id)
) WITHOUT ROWID;
CREATE INDEX words_of_child ON child_word (child_id);
CREATE TABLE class_word (
    ente_id BIGINT NOT NULL,
    word TEXT NOT NULL,
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    PRIMARY KEY (ente_id, word, class_id)
) WITHOUT ROWID;
CREATE INDEX words_of_class ON class_word (class_id);
CREATE TABLE guardian_word (
    ente_id BIGINT NOT NULL,
    word TEXT NOT NULL,
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    PRIMARY KEY (ente_id, word, guardian_id)
) WITHOUT ROWID;
CREATE INDEX words_of_guardian ON guardian_word (guardian_id);

-- note: why the office did it, where it had to say so. late: after the cut-off of its day.
ALTER TABLE operation ADD COLUMN note TEXT;
ALTER TABLE operation ADD COLUMN late BOOLEAN NOT NULL DEFAULT FALSE;

-- An import, or a school year's roll-over: what it did, so that it can be undone whole. summary: counts, as JSON.
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    kind TEXT NOT NULL CHECK (kind IN ('import', 'rollover')),
    title TEXT NOT NULL,
    actor TEXT NOT NULL,
    at DATETIME NOT NULL,
    summary TEXT NOT NULL,
    undone_at DATETIME,
    undone_by TEXT
);
CREATE INDEX batch_of_ente ON batch (ente_id, id);

-- A row that it wrote. before_state: NULL where it was new. Both as JSON; they may hold keypad codes.
CREATE TABLE batch_row (
    batch_id BIGINT NOT NULL REFERENCES batch (id),
    position BIGINT NOT NULL,
    kind TEXT NOT NULL,
    row_id BIGINT NOT NULL,
    title TEXT NOT NULL,
    before_state TEXT,
    after_state TEXT NOT NULL,
    PRIMARY KEY (batch_id, position)
);

-- Files that were shown in a preview and wait for "apply"; gone after a day.
CREATE TABLE upload (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    actor TEXT NOT NULL,
    at DATETIME NOT NULL
);
CREATE TABLE upload_file (
    upload_id BIGINT NOT NULL REFERENCES upload (id),
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (upload_id, position)
);
