-- The office's settings, mail, letters, and what is forgotten after how long.

-- What the office has set; there is no row until it has set something. From then on name, telephone number, window and cut-off of the ente are the
-- office's too, and the configuration file only says how things were at first. version counts changes, so that two clerks do not overwrite each other.
-- heading, signature: lines. phone_options: offered on the telephone, bit 0 cancel, 1 white, 2 suspend, 3 resume, 4 undo.
CREATE TABLE ente_settings (
    ente_id BIGINT PRIMARY KEY REFERENCES ente (id),
    version BIGINT NOT NULL,
    office TEXT,
    heading TEXT,
    place TEXT,
    email TEXT,
    signature TEXT,
    portal TEXT,
    phone_options BIGINT NOT NULL CHECK (phone_options BETWEEN 0 AND 31),
    keep_calls_days BIGINT NOT NULL,
    keep_audit_days BIGINT NOT NULL,
    keep_left_days BIGINT NOT NULL
);

CREATE TABLE ente_logo (
    ente_id BIGINT PRIMARY KEY REFERENCES ente (id),
    media_type TEXT NOT NULL,
    picture BLOB NOT NULL
);

-- Telephone numbers as letters print them.
CREATE TABLE printed_number (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    position BIGINT NOT NULL,
    number TEXT NOT NULL,
    note TEXT,
    PRIMARY KEY (ente_id, position)
);

-- A change of window and cut-off, from the day first_day on. It is applied between the closing of the day before and the evening on which the line opens for
-- first_day: no day is judged by two cut-offs. At most one is waiting.
CREATE TABLE window_change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    first_day DATE NOT NULL,
    opens TIME NOT NULL,
    cutoff TIME NOT NULL,
    old_opens TIME NOT NULL,
    old_cutoff TIME NOT NULL,
    entered_at DATETIME NOT NULL,
    actor TEXT NOT NULL,
    applied_at DATETIME,
    withdrawn_at DATETIME
);
CREATE UNIQUE INDEX window_change_waiting ON window_change (ente_id) WHERE applied_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX window_change_of ON window_change (ente_id, first_day);

-- Mail to be sent, and what became of it. token: the Message-ID's left half, the same in every attempt. cause_key: what the mail is for, so that it is queued once
-- however many nodes mean to. state: queued; sending (claimed until next_at); sent; refused (by the server, for good); given_up (too old); withdrawn (by the office).
-- body is emptied, and attachments are deleted, once nothing more will be sent: they hold codes. answer: the server's last words.
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    token TEXT NOT NULL UNIQUE,
    cause_key TEXT UNIQUE,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    recipient_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT,
    actor TEXT NOT NULL,
    queued_at DATETIME NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'refused', 'given_up', 'withdrawn')),
    attempts BIGINT NOT NULL,
    attempted_at DATETIME,
    next_at DATETIME NOT NULL,
    answer TEXT,
    ended_at DATETIME
);
CREATE INDEX mail_waiting ON mail (next_at, id) WHERE ended_at IS NULL;
CREATE INDEX mail_attempted ON mail (attempted_at);
CREATE INDEX mail_of_ente ON mail (ente_id, queued_at, id);
CREATE INDEX mail_of_state ON mail (ente_id, state, queued_at, id);
CREATE INDEX mail_of_recipient ON mail (ente_id, recipient, id);
CREATE INDEX mail_of_subject ON mail (ente_id, subject, id);

CREATE TABLE mail_attachment (
    mail_id BIGINT NOT NULL REFERENCES mail (id),
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (mail_id, position)
);

-- Letters made: of which child, when, by whom, on paper or by mail to which guardian.
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    child_id BIGINT NOT NULL REFERENCES child (id),
    at DATETIME NOT NULL,
    actor TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('paper', 'mail')),
    guardian_id BIGINT REFERENCES guardian (id),
    mail_id BIGINT REFERENCES mail (id)
);
CREATE INDEX letter_of_child ON letter (child_id, id);
CREATE INDEX letter_of_ente ON letter (ente_id, at, id);
CREATE INDEX letter_of_mail ON letter (mail_id);

-- Codes that a child had before, however it came to another one: never given to another child, whose meal the old letter would cancel.
CREATE TABLE retired_code (
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    code TEXT NOT NULL,
    child_id BIGINT NOT NULL REFERENCES child (id),
    PRIMARY KEY (ente_id, code)
);
CREATE TRIGGER child_code_retired AFTER UPDATE OF code ON child WHEN OLD.code IS NOT NEW.code AND OLD.code NOT LIKE '-%'
BEGIN
    INSERT INTO retired_code (ente_id, code, child_id) VALUES (OLD.ente_id, OLD.code, OLD.id)
        ON CONFLICT (ente_id, code) DO UPDATE SET child_id = excluded.child_id;
END;

-- A child of whom nobody must know any more who it was; its operations and meals stay.
ALTER TABLE child ADD COLUMN forgotten_at DATETIME;
CREATE INDEX child_enrolled_until ON child (ente_id, enrolled_last) WHERE forgotten_at IS NULL;

-- An operation stays as it was decided, for ever (R10); only who asked, and the office's own words, may be taken
-- out, when the child is forgotten.
DROP TRIGGER operation_no_update;
CREATE TRIGGER operation_no_update BEFORE UPDATE ON operation
WHEN NEW.id IS NOT OLD.id OR NEW.ente_id IS NOT OLD.ente_id OR NEW.child_id IS NOT OLD.child_id OR NEW.channel IS NOT OLD.channel
    OR NEW.call_id IS NOT OLD.call_id OR NEW.idempotency_key IS NOT OLD.idempotency_key OR NEW.at IS NOT OLD.at OR NEW.choice IS NOT OLD.choice
    OR NEW.until_day IS NOT OLD.until_day OR NEW.decision IS NOT OLD.decision OR NEW.reason IS NOT OLD.reason OR NEW.day IS NOT OLD.day
    OR NEW.receipt IS NOT OLD.receipt OR NEW.late IS NOT OLD.late OR NEW.actor <> 'forgotten' OR NEW.note IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'operation is append-only'); END;
