-- Who works in the office, how they prove who they are, and what they saw and changed.

-- login: what they type, in small letters; unique over all enti. totp_secret: base32. totp_step: the last step that was used, so that no code counts twice.
CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    password_hash TEXT,
    must_change BOOLEAN NOT NULL DEFAULT FALSE,
    totp_secret TEXT,
    totp_step BIGINT,
    second_factor_required BOOLEAN NOT NULL DEFAULT FALSE,
    disabled_at DATETIME,
    last_login_at DATETIME,
    created_at DATETIME NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX person_of_ente ON person (ente_id, name);

-- token_hash: SHA-256 of the cookie, in hex; the cookie itself is kept nowhere. pending: the password was right, the second factor is still asked for.
CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash TEXT NOT NULL UNIQUE,
    person_id BIGINT NOT NULL REFERENCES person (id),
    pending BOOLEAN NOT NULL,
    created_at DATETIME NOT NULL,
    seen_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX session_of_person ON session (person_id);
CREATE INDEX session_by_expiry ON session (expires_at);

-- Tries to log in; kept for a month. login: as typed, in small letters, cut off.
CREATE TABLE login_attempt (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL,
    address TEXT NOT NULL,
    at DATETIME NOT NULL,
    ok BOOLEAN NOT NULL
);
CREATE INDEX login_attempt_of_login ON login_attempt (login, at);
CREATE INDEX login_attempt_of_address ON login_attempt (address, at);
CREATE INDEX login_attempt_by_time ON login_attempt (at);

-- A link that logs one person in, once.
CREATE TABLE login_link (
    token_hash TEXT PRIMARY KEY,
    person_id BIGINT NOT NULL REFERENCES person (id),
    expires_at DATETIME NOT NULL
);

-- What stands in for a lost second factor, each once; as SHA-256.
CREATE TABLE recovery_code (
    person_id BIGINT NOT NULL REFERENCES person (id),
    code_hash TEXT NOT NULL,
    PRIMARY KEY (person_id, code_hash)
);

-- credential: the authenticator's id for it, base64url. data: the public key and what goes with it.
CREATE TABLE passkey (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person_id BIGINT NOT NULL REFERENCES person (id),
    credential TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    used_at DATETIME
);
CREATE INDEX passkey_of_person ON passkey (person_id);

-- A passkey being made or shown: what the answer is checked against. token_hash: of whoever began it.
CREATE TABLE ceremony (
    token_hash TEXT PRIMARY KEY,
    person_id BIGINT REFERENCES person (id),
    data TEXT NOT NULL,
    expires_at DATETIME NOT NULL
);

-- Keys that all nodes share, drawn at random by the first one; hex.
CREATE TABLE office_key (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who saw or changed what. action: Italian, "ha cambiato la classe". subject_kind, subject_id: the row concerned; subject: what it is called, without codes.
-- before, after: JSON, only what differs, without codes and passwords. May be deleted when it is old, never changed.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    at DATETIME NOT NULL,
    person_id BIGINT REFERENCES person (id),
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id BIGINT,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_by_time ON audit (ente_id, at, id);
CREATE INDEX audit_of_actor ON audit (ente_id, actor, at, id);
CREATE INDEX audit_of_action ON audit (ente_id, action, at, id);
CREATE INDEX audit_of_subject ON audit (ente_id, subject_kind, subject_id, at, id);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
