-- The calendar as the office keeps it, what changed after a cut-off, and who is told what the kitchen cooks.

-- kind: holiday, strike, election, weather, break, works, other. entered_by: '' where it came with an import.
-- A closure that was taken back stays: what was known at a cut-off can be told afterwards (R9).
ALTER TABLE closure ADD COLUMN kind TEXT NOT NULL DEFAULT 'other';
ALTER TABLE closure ADD COLUMN entered_by TEXT NOT NULL DEFAULT '';
ALTER TABLE closure ADD COLUMN withdrawn_at DATETIME;
ALTER TABLE closure ADD COLUMN withdrawn_by TEXT;

-- Days of return from a day on, where they changed within the school year; before the first of these those of school_class hold.
CREATE TABLE class_return (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    first_day DATE NOT NULL,
    weekdays BIGINT NOT NULL CHECK (weekdays BETWEEN 0 AND 127),
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL,
    withdrawn_at DATETIME,
    withdrawn_by TEXT
);
CREATE INDEX class_return_of ON class_return (class_id, first_day);

-- The patron saint's day of the comune: a holiday there and nowhere else.
CREATE TABLE patron (
    ente_id BIGINT PRIMARY KEY REFERENCES ente (id),
    month BIGINT NOT NULL CHECK (month BETWEEN 1 AND 12),
    day BIGINT NOT NULL CHECK (day BETWEEN 1 AND 31),
    name TEXT NOT NULL
);

-- Holidays on which this ente serves all the same: not proposed again.
CREATE TABLE holiday_left_out (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    day DATE NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL,
    PRIMARY KEY (ente_id, day)
);

-- Append-only: what changed of a closed day after its cut-off. A meal is billed as its last correction says, else as its record.
-- was, becomes: served, white, cancelled, suspended, no_service; no_service is also what was where there is no meal record.
-- closure_id: the closure that was entered or taken back; operation_id: the operation by the office. actor: who. reason: why, in words.
CREATE TABLE meal_correction (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    child_id BIGINT NOT NULL REFERENCES child (id),
    day DATE NOT NULL,
    school_id BIGINT NOT NULL REFERENCES school (id),
    class_id BIGINT NOT NULL REFERENCES school_class (id),
    diet TEXT NOT NULL,
    was TEXT NOT NULL CHECK (was IN ('served', 'white', 'cancelled', 'suspended', 'no_service')),
    becomes TEXT NOT NULL CHECK (becomes IN ('served', 'white', 'cancelled', 'suspended', 'no_service')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    at DATETIME NOT NULL,
    closure_id BIGINT REFERENCES closure (id),
    operation_id BIGINT REFERENCES operation (id),
    CHECK (was <> becomes)
);
CREATE INDEX meal_correction_of_child ON meal_correction (child_id, day, id);
CREATE INDEX meal_correction_of_day ON meal_correction (day, school_id, id);

-- Who is sent the kitchen's count at the cut-off: of one school, or of every school where school_id is NULL.
CREATE TABLE kitchen_recipient (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    school_id BIGINT REFERENCES school (id),
    name TEXT NOT NULL,
    email TEXT NOT NULL
);
CREATE UNIQUE INDEX kitchen_recipient_of ON kitchen_recipient (ente_id, COALESCE(school_id, 0), email);

CREATE INDEX mark_by_day ON mark (day, child_id);

CREATE TRIGGER meal_correction_no_update BEFORE UPDATE ON meal_correction BEGIN SELECT RAISE(ABORT, 'meal_correction is append-only'); END;
CREATE TRIGGER meal_correction_no_delete BEFORE DELETE ON meal_correction BEGIN SELECT RAISE(ABORT, 'meal_correction is append-only'); END;
