-- Other systems, the caterer's and the comune's: what each may read and do over the JSON API.

-- token_hash: SHA-256, hex; the token itself is kept nowhere. scopes: words with spaces between. A token that is over or revoked stays, for the trail.
CREATE TABLE api_token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    created_by TEXT NOT NULL,
    expires_at DATETIME NOT NULL,
    used_at DATETIME,
    used_from TEXT,
    revoked_at DATETIME,
    revoked_by TEXT
);
CREATE INDEX api_token_of ON api_token (ente_id, id);

-- What another system reads on from where it was.
CREATE INDEX operation_of_ente ON operation (ente_id, id);
CREATE INDEX child_of_ente ON child (ente_id, id);
