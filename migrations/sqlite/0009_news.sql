-- News to families (O4), and what families ask and are answered (O8).

-- body: a small Markdown. state: what the office has decided; whether families see it is a matter of the time as well: from from_at on, before until_at.
-- from_at of what is public is never NULL. closure_id: the closure that it tells of; no foreign key, since one goes with its school. mail_to: the last adult whose mail is queued, in the order of their rows;
-- mailed: mails queued so far; mailed_at: all are, so that what is published again is not sent again.
CREATE TABLE news (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    version BIGINT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'public', 'withdrawn')),
    from_at DATETIME,
    until_at DATETIME,
    pinned BOOLEAN NOT NULL,
    by_mail BOOLEAN NOT NULL,
    closure_id BIGINT UNIQUE,
    created_by TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at DATETIME NOT NULL,
    published_by TEXT,
    mail_to BIGINT NOT NULL,
    mailed BIGINT NOT NULL,
    mailed_at DATETIME,
    CHECK (state <> 'public' OR from_at IS NOT NULL),
    CHECK (until_at IS NULL OR from_at IS NULL OR from_at < until_at)
);
CREATE INDEX news_by_change ON news (ente_id, changed_at, id);
CREATE INDEX news_by_title ON news (ente_id, title, id);
CREATE INDEX news_by_start ON news (ente_id, from_at, id);
CREATE INDEX news_to_mail ON news (from_at) WHERE state = 'public' AND by_mail AND mailed_at IS NULL;

-- Whom it is for: no row is everybody; a school, or a class of it.
CREATE TABLE news_target (
    news_id BIGINT NOT NULL REFERENCES news (id),
    position BIGINT NOT NULL,
    school_id BIGINT NOT NULL REFERENCES school (id),
    class_id BIGINT REFERENCES school_class (id),
    PRIMARY KEY (news_id, position)
);

-- topic: see desk::tickets::Topic. state: open (the office's turn), waiting (the family's), closed. origin: office, portal, api. child_id, guardian_id: whom it is
-- about, where that is known. touched_at: the last message.
CREATE TABLE ticket (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    version BIGINT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('office', 'portal', 'api')),
    topic TEXT NOT NULL,
    title TEXT NOT NULL,
    child_id BIGINT REFERENCES child (id),
    guardian_id BIGINT REFERENCES guardian (id),
    state TEXT NOT NULL CHECK (state IN ('open', 'waiting', 'closed')),
    assigned_id BIGINT REFERENCES person (id),
    opened_by TEXT NOT NULL,
    opened_at DATETIME NOT NULL,
    touched_at DATETIME NOT NULL,
    closed_at DATETIME,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE INDEX ticket_by_opening ON ticket (ente_id, opened_at, id);
CREATE INDEX ticket_by_touch ON ticket (ente_id, touched_at, id);
CREATE INDEX ticket_of_state ON ticket (ente_id, state, opened_at, id);
CREATE INDEX ticket_of_topic ON ticket (ente_id, topic, opened_at, id);
CREATE INDEX ticket_unclosed ON ticket (ente_id, opened_at, id) WHERE state <> 'closed';
CREATE INDEX ticket_to_forget ON ticket (ente_id, closed_at) WHERE state = 'closed';
CREATE INDEX ticket_of_person ON ticket (assigned_id, opened_at, id);
CREATE INDEX ticket_of_child ON ticket (child_id, opened_at, id);
CREATE INDEX ticket_of_guardian ON ticket (guardian_id, opened_at, id);

-- kind: family (what they said), office (what they were answered), note (for the office only). mail_id is no foreign key: mail is forgotten at its own time.
CREATE TABLE ticket_message (
    ticket_id BIGINT NOT NULL REFERENCES ticket (id),
    position BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('family', 'office', 'note')),
    author TEXT NOT NULL,
    at DATETIME NOT NULL,
    body TEXT NOT NULL,
    mail_id BIGINT,
    PRIMARY KEY (ticket_id, position)
);

-- The words by which a ticket is found, folded, as children are.
CREATE TABLE ticket_word (
    ente_id BIGINT NOT NULL,
    word TEXT NOT NULL,
    ticket_id BIGINT NOT NULL REFERENCES ticket (id),
    PRIMARY KEY (ente_id, word, ticket_id)
) WITHOUT ROWID;
CREATE INDEX words_of_ticket ON ticket_word (ticket_id);

-- Answers that are often given, with places for names and days.
CREATE TABLE canned_answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    version BIGINT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (ente_id, title)
);

ALTER TABLE ente_settings ADD COLUMN keep_tickets_days BIGINT NOT NULL DEFAULT 730;
