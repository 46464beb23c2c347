-- Voce Guida: the canteen's data (docs/ARCHITECTURE.md, "Data"). The other database has the same
-- tables and columns; a test compares them.

CREATE TABLE ente (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    office_phone TEXT,
    opens TIME NOT NULL,
    cutoff TIME NOT NULL,
    zone TEXT NOT NULL
);

CREATE TABLE school_year (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    name TEXT NOT NULL,
    UNIQUE (ente_id, name)
);

-- code: the office's short name for it. live_from: the first day that this system closes and counts; earlier days were somebody else's (R9).
CREATE TABLE school (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    live_from DATE NOT NULL,
    UNIQUE (ente_id, code)
);

-- When meals are served; a row without a school holds for every school that has none of its own.
CREATE TABLE term (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    school_year_id BIGINT NOT NULL REFERENCES school_year (id),
    school_id BIGINT REFERENCES school (id),
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    CHECK (first_day <= last_day)
);
CREATE UNIQUE INDEX term_of ON term (school_year_id, COALESCE(school_id, 0));

-- weekdays: days of return, bit 0 is Monday.
CREATE TABLE school_class (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    school_id BIGINT NOT NULL REFERENCES school (id),
    school_year_id BIGINT NOT NULL REFERENCES school_year (id),
    name TEXT NOT NULL,
    weekdays BIGINT NOT NULL CHECK (weekdays BETWEEN 0 AND 127),
    UNIQUE (school_id, school_year_id, name)
);

-- Whole ente (no school, no class), a school, or a class. entered_at: a closure entered after the
-- cut-off of a day does not change that day's count (R9), but nobody is billed (R8).
CREATE TABLE closure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    school_id BIGINT REFERENCES school (id),
    class_id BIGINT REFERENCES school_class (id),
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    reason TEXT NOT NULL,
    entered_at DATETIME NOT NULL,
    CHECK (first_day <= last_day),
    CHECK (class_id IS NULL OR school_id IS NOT NULL)
);
CREATE INDEX closure_of ON closure (ente_id, last_day);

CREATE TABLE guardian (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    last_name TEXT NOT NULL,
    first_name TEXT NOT NULL,
    fiscal_code TEXT,
    email TEXT,
    phone TEXT
);
CREATE INDEX guardian_by_fiscal_code ON guardian (ente_id, fiscal_code);

-- external_ref: the roster's own key for the child. code: the keypad code, a secret.
CREATE TABLE child (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    external_ref TEXT,
    last_name TEXT NOT NULL,
    first_name TEXT NOT NULL,
    fiscal_code TEXT,
    diet TEXT NOT NULL,
    code TEXT NOT NULL,
    enrolled_first DATE,
    enrolled_last DATE,
    created_at DATETIME NOT NULL,
    UNIQUE (ente_id, code),
    UNIQUE (ente_id, external_ref)
);
CREATE INDEX child_in_class ON child (class_id);

-- position: 0 is the first guardian of the roster.
CREATE TABLE child_guardian (
    child_id BIGINT NOT NULL REFERENCES child (id),
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    position BIGINT NOT NULL,
    payer BOOLEAN NOT NULL,
    PRIMARY KEY (child_id, guardian_id)
);
CREATE INDEX children_of_guardian ON child_guardian (guardian_id);

-- Call detail records. caller: NULL when withheld.
CREATE TABLE call (
    id TEXT PRIMARY KEY,
    ente_id BIGINT REFERENCES ente (id),
    sip_call_id TEXT NOT NULL,
    trunk TEXT NOT NULL,
    caller TEXT,
    called TEXT NOT NULL,
    peer TEXT NOT NULL,
    started_at DATETIME NOT NULL,
    answered_at DATETIME,
    ended_at DATETIME NOT NULL,
    status BIGINT NOT NULL,
    cause TEXT NOT NULL,
    codec TEXT,
    packets_sent BIGINT NOT NULL,
    packets_received BIGINT NOT NULL,
    digits BIGINT NOT NULL
);
CREATE INDEX call_by_time ON call (started_at);

-- Append-only: what was asked, by whom, and how it was answered, refusals too (R10). The truth for
-- disputes; mark and suspension are its projection. call_id is no foreign key: the CDR is written
-- when the call ends. idempotency_key: the same operation sent twice is done once.
CREATE TABLE operation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    child_id BIGINT NOT NULL REFERENCES child (id),
    channel TEXT NOT NULL,
    actor TEXT NOT NULL,
    call_id TEXT,
    idempotency_key TEXT NOT NULL UNIQUE,
    at DATETIME NOT NULL,
    choice TEXT NOT NULL,
    until_day DATE,
    decision TEXT NOT NULL CHECK (decision IN ('accepted', 'refused')),
    reason TEXT,
    day DATE,
    receipt TEXT NOT NULL,
    UNIQUE (ente_id, receipt),
    CHECK ((decision = 'accepted') = (reason IS NULL)),
    CHECK (decision = 'refused' OR day IS NOT NULL)
);
CREATE INDEX operation_of_child ON operation (child_id, id);
CREATE INDEX operation_of_call ON operation (call_id);
CREATE INDEX operation_by_time ON operation (ente_id, at);

CREATE TABLE mark (
    child_id BIGINT NOT NULL REFERENCES child (id),
    day DATE NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('cancelled', 'white')),
    operation_id BIGINT NOT NULL REFERENCES operation (id),
    PRIMARY KEY (child_id, day)
);

CREATE TABLE suspension (
    child_id BIGINT NOT NULL REFERENCES child (id),
    first_day DATE NOT NULL,
    last_day DATE,
    operation_id BIGINT NOT NULL REFERENCES operation (id),
    PRIMARY KEY (child_id, first_day),
    CHECK (last_day IS NULL OR first_day <= last_day)
);

-- A day of a school closed at its cut-off (R9): there is a row once its meals are written.
CREATE TABLE closed_day (
    school_id BIGINT NOT NULL REFERENCES school (id),
    day DATE NOT NULL,
    closed_at DATETIME NOT NULL,
    meals BIGINT NOT NULL,
    PRIMARY KEY (school_id, day)
);

-- Immutable: what stood for each child at the cut-off. state: served, white, cancelled, suspended.
CREATE TABLE meal (
    child_id BIGINT NOT NULL REFERENCES child (id),
    day DATE NOT NULL,
    school_id BIGINT NOT NULL REFERENCES school (id),
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    diet TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('served', 'white', 'cancelled', 'suspended')),
    PRIMARY KEY (child_id, day)
);
CREATE INDEX meal_of_day ON meal (day, school_id);

-- What the kitchen cooks.
CREATE TABLE head_count (
    day DATE NOT NULL,
    school_id BIGINT NOT NULL REFERENCES school (id),
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    diet TEXT NOT NULL,
    white BOOLEAN NOT NULL,
    meals BIGINT NOT NULL,
    PRIMARY KEY (day, class_id, diet, white)
);

-- Wrong codes typed (S4); kept for a month. caller '' is a withheld number. guess: the check digit
-- fitted, so it was hardly a slip of the finger.
CREATE TABLE code_attempt (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    caller TEXT NOT NULL,
    call_id TEXT NOT NULL,
    at DATETIME NOT NULL,
    guess BOOLEAN NOT NULL
);
CREATE INDEX code_attempt_recent ON code_attempt (ente_id, at);

-- Numbers from which a right code has been typed before: not shut out when strangers guess.
CREATE TABLE known_caller (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    caller TEXT NOT NULL,
    last_at DATETIME NOT NULL,
    PRIMARY KEY (ente_id, caller)
);

-- What has been written down stays as it is (R9, R10).
CREATE TRIGGER operation_no_update BEFORE UPDATE ON operation BEGIN SELECT RAISE(ABORT, 'operation is append-only'); END;
CREATE TRIGGER operation_no_delete BEFORE DELETE ON operation BEGIN SELECT RAISE(ABORT, 'operation is append-only'); END;
CREATE TRIGGER meal_no_update BEFORE UPDATE ON meal BEGIN SELECT RAISE(ABORT, 'meal is append-only'); END;
CREATE TRIGGER meal_no_delete BEFORE DELETE ON meal BEGIN SELECT RAISE(ABORT, 'meal is append-only'); END;
CREATE TRIGGER head_count_no_update BEFORE UPDATE ON head_count BEGIN SELECT RAISE(ABORT, 'head_count is append-only'); END;
CREATE TRIGGER head_count_no_delete BEFORE DELETE ON head_count BEGIN SELECT RAISE(ABORT, 'head_count is append-only'); END;
CREATE TRIGGER closed_day_no_update BEFORE UPDATE ON closed_day BEGIN SELECT RAISE(ABORT, 'closed_day is append-only'); END;
CREATE TRIGGER closed_day_no_delete BEFORE DELETE ON closed_day BEGIN SELECT RAISE(ABORT, 'closed_day is append-only'); END;
