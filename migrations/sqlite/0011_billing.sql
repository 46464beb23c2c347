-- Billing: tariffs, what of a family decides a price, runs and payment notices. Money in cents, shares and reductions in hundredths of a percent (10,000 is all).
-- Nothing here is changed or deleted once it is written; what was wrong is withdrawn or entered anew with a later row.

-- infanzia, primaria, secondaria; NULL: no rate is for its order of school.
ALTER TABLE school ADD COLUMN school_order TEXT CHECK (school_order IN ('infanzia', 'primaria', 'secondaria'));

-- Of two tariffs that begin on the same day the later row holds.
CREATE TABLE tariff (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    valid_from DATE NOT NULL,
    name TEXT NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL
);
CREATE INDEX tariff_of_ente ON tariff (ente_id, valid_from, id);

-- Neither school_id nor school_order: every school. residents NULL: both. isee_up_to NULL: no limit, and no ISEE.
CREATE TABLE tariff_rate (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tariff_id BIGINT NOT NULL REFERENCES tariff (id),
    school_id BIGINT REFERENCES school (id),
    school_order TEXT CHECK (school_order IN ('infanzia', 'primaria', 'secondaria')),
    residents BOOLEAN,
    isee_up_to BIGINT CHECK (isee_up_to > 0),
    meal_cents BIGINT NOT NULL CHECK (meal_cents >= 0),
    monthly_cents BIGINT NOT NULL CHECK (monthly_cents >= 0),
    CHECK (school_id IS NULL OR school_order IS NULL)
);
CREATE INDEX rate_of_tariff ON tariff_rate (tariff_id, id);

-- rank 2: the second child.
CREATE TABLE tariff_sibling (
    tariff_id BIGINT NOT NULL REFERENCES tariff (id),
    rank BIGINT NOT NULL CHECK (rank BETWEEN 2 AND 255),
    reduction_bp BIGINT NOT NULL CHECK (reduction_bp BETWEEN 0 AND 10000),
    PRIMARY KEY (tariff_id, rank)
);

-- filed_on: when the family handed it in; of two that hold on a day the one handed in last counts.
CREATE TABLE isee (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    value_cents BIGINT NOT NULL CHECK (value_cents >= 0),
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    filed_on DATE NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL,
    withdrawn_at DATETIME,
    withdrawn_by TEXT,
    CHECK (first_day <= last_day)
);
CREATE INDEX isee_of_guardian ON isee (guardian_id, id);

CREATE TABLE relief (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    child_id BIGINT NOT NULL REFERENCES child (id),
    kind TEXT NOT NULL CHECK (kind IN ('exempt', 'percentage', 'fixed_price')),
    reduction_bp BIGINT CHECK (reduction_bp BETWEEN 0 AND 10000),
    price_cents BIGINT CHECK (price_cents >= 0),
    first_day DATE NOT NULL,
    last_day DATE,
    reason TEXT NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL,
    withdrawn_at DATETIME,
    withdrawn_by TEXT,
    CHECK (last_day IS NULL OR first_day <= last_day),
    CHECK ((kind = 'percentage') = (reduction_bp IS NOT NULL)),
    CHECK ((kind = 'fixed_price') = (price_cents IS NOT NULL))
);
CREATE INDEX relief_of_child ON relief (child_id, id);

-- Does a child live in the comune, from first_day on? Where there is no row it does.
CREATE TABLE residence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    child_id BIGINT NOT NULL REFERENCES child (id),
    first_day DATE NOT NULL,
    resident BOOLEAN NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL
);
CREATE INDEX residence_of_child ON residence (child_id, id);

-- Who pays for a child from first_day on, until the next entry. Where there is none: child_guardian.payer, and days that were billed stay with whom they were
-- billed to.
CREATE TABLE payment_share (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    child_id BIGINT NOT NULL REFERENCES child (id),
    first_day DATE NOT NULL,
    entered_at DATETIME NOT NULL,
    entered_by TEXT NOT NULL
);
CREATE INDEX payment_share_of_child ON payment_share (child_id, id);
CREATE TABLE payment_share_part (
    payment_share_id BIGINT NOT NULL REFERENCES payment_share (id),
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    share_bp BIGINT NOT NULL CHECK (share_bp BETWEEN 1 AND 10000),
    PRIMARY KEY (payment_share_id, guardian_id)
);
CREATE INDEX payment_share_of_guardian ON payment_share_part (guardian_id);

-- A monthly run; at most one of an ente is under way. first_day: earlier days are not this program's to bill. holder, held_until: the process at work, until it
-- is to be heard of again; after that another one goes on. summary: JSON, what it came to.
CREATE TABLE billing_run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    month DATE NOT NULL,
    first_day DATE NOT NULL,
    threshold_cents BIGINT NOT NULL CHECK (threshold_cents >= 0),
    issued_on DATE NOT NULL,
    due_day DATE NOT NULL,
    actor TEXT NOT NULL,
    started_at DATETIME NOT NULL,
    holder TEXT NOT NULL,
    held_until DATETIME NOT NULL,
    ended_at DATETIME,
    summary TEXT
);
CREATE UNIQUE INDEX billing_run_under_way ON billing_run (ente_id) WHERE ended_at IS NULL;
CREATE INDEX billing_run_of_ente ON billing_run (ente_id, month, id);

-- What a price followed from, and why, as it was said when it was first billed. steps: JSON, Italian.
CREATE TABLE price_basis (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL CHECK (item IN ('meal', 'flat')),
    rate_id BIGINT NOT NULL REFERENCES tariff_rate (id),
    sibling BIGINT NOT NULL CHECK (sibling BETWEEN 1 AND 255),
    relief_id BIGINT REFERENCES relief (id),
    price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
    steps TEXT NOT NULL
);
CREATE UNIQUE INDEX price_basis_of ON price_basis (rate_id, item, sibling, COALESCE(relief_id, 0));

-- A payment notice. year, number: without gaps for each ente. notice_number, iuv: SACI 3.2.1. The debtor as he or she was called then.
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ente_id BIGINT NOT NULL REFERENCES ente (id),
    run_id BIGINT NOT NULL REFERENCES billing_run (id),
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    year BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    creditor TEXT NOT NULL,
    notice_number TEXT NOT NULL,
    iuv TEXT NOT NULL,
    subject TEXT NOT NULL,
    total_cents BIGINT NOT NULL CHECK (total_cents > 0),
    issued_on DATE NOT NULL,
    due_day DATE NOT NULL,
    debtor_name TEXT NOT NULL,
    debtor_fiscal_code TEXT NOT NULL,
    debtor_address TEXT,
    UNIQUE (ente_id, year, number),
    UNIQUE (creditor, iuv),
    UNIQUE (run_id, guardian_id)
);
CREATE INDEX notice_of_guardian ON notice (guardian_id, id);

-- item: a meal, or a month's flat share. days: of that month, bit 0 is the first. reason: NULL where it is billed for the first time, else why it is billed
-- again, and unit_cents is then the difference. note: in the office's words. basis_id NULL: nothing is due any more.
CREATE TABLE notice_line (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id BIGINT NOT NULL REFERENCES notice (id),
    child_id BIGINT NOT NULL REFERENCES child (id),
    month DATE NOT NULL,
    days BIGINT NOT NULL CHECK (days > 0),
    item TEXT NOT NULL CHECK (item IN ('meal', 'flat')),
    reason TEXT CHECK (reason IN ('correction', 'closure', 'tariff', 'isee', 'place', 'siblings', 'relief', 'share')),
    note TEXT NOT NULL,
    unit_cents BIGINT NOT NULL CHECK (unit_cents <> 0),
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 31),
    total_cents BIGINT NOT NULL,
    basis_id BIGINT REFERENCES price_basis (id),
    share_bp BIGINT NOT NULL CHECK (share_bp BETWEEN 1 AND 10000),
    CHECK (total_cents = unit_cents * quantity),
    CHECK (reason IS NOT NULL OR basis_id IS NOT NULL)
);
CREATE INDEX line_of_notice ON notice_line (notice_id, id);
CREATE INDEX line_of_child ON notice_line (child_id, month);

-- Each payer's account at a run, where there was anything to settle: due − billed is what the notice asks for, or what waits for the next run, and why (held).
CREATE TABLE billing_outcome (
    run_id BIGINT NOT NULL REFERENCES billing_run (id),
    guardian_id BIGINT NOT NULL REFERENCES guardian (id),
    due_cents BIGINT NOT NULL,
    billed_cents BIGINT NOT NULL,
    carried_cents BIGINT NOT NULL,
    held TEXT CHECK (held IN ('small', 'credit', 'no_fiscal_code', 'bad_fiscal_code')),
    PRIMARY KEY (run_id, guardian_id),
    CHECK (held IS NOT NULL OR carried_cents = 0),
    CHECK (held IS NULL OR carried_cents = due_cents - billed_cents)
);

-- What has been written down stays as it is.
CREATE TRIGGER tariff_no_update BEFORE UPDATE ON tariff BEGIN SELECT RAISE(ABORT, 'tariff is append-only'); END;
CREATE TRIGGER tariff_no_delete BEFORE DELETE ON tariff BEGIN SELECT RAISE(ABORT, 'tariff is append-only'); END;
CREATE TRIGGER tariff_rate_no_update BEFORE UPDATE ON tariff_rate BEGIN SELECT RAISE(ABORT, 'tariff_rate is append-only'); END;
CREATE TRIGGER tariff_rate_no_delete BEFORE DELETE ON tariff_rate BEGIN SELECT RAISE(ABORT, 'tariff_rate is append-only'); END;
CREATE TRIGGER tariff_sibling_no_update BEFORE UPDATE ON tariff_sibling BEGIN SELECT RAISE(ABORT, 'tariff_sibling is append-only'); END;
CREATE TRIGGER tariff_sibling_no_delete BEFORE DELETE ON tariff_sibling BEGIN SELECT RAISE(ABORT, 'tariff_sibling is append-only'); END;
CREATE TRIGGER residence_no_update BEFORE UPDATE ON residence BEGIN SELECT RAISE(ABORT, 'residence is append-only'); END;
CREATE TRIGGER residence_no_delete BEFORE DELETE ON residence BEGIN SELECT RAISE(ABORT, 'residence is append-only'); END;
CREATE TRIGGER payment_share_no_update BEFORE UPDATE ON payment_share BEGIN SELECT RAISE(ABORT, 'payment_share is append-only'); END;
CREATE TRIGGER payment_share_no_delete BEFORE DELETE ON payment_share BEGIN SELECT RAISE(ABORT, 'payment_share is append-only'); END;
CREATE TRIGGER payment_share_part_no_update BEFORE UPDATE ON payment_share_part BEGIN SELECT RAISE(ABORT, 'payment_share_part is append-only'); END;
CREATE TRIGGER payment_share_part_no_delete BEFORE DELETE ON payment_share_part BEGIN SELECT RAISE(ABORT, 'payment_share_part is append-only'); END;
CREATE TRIGGER price_basis_no_update BEFORE UPDATE ON price_basis BEGIN SELECT RAISE(ABORT, 'price_basis is append-only'); END;
CREATE TRIGGER price_basis_no_delete BEFORE DELETE ON price_basis BEGIN SELECT RAISE(ABORT, 'price_basis is append-only'); END;
CREATE TRIGGER notice_no_update BEFORE UPDATE ON notice BEGIN SELECT RAISE(ABORT, 'notice is append-only'); END;
CREATE TRIGGER notice_no_delete BEFORE DELETE ON notice BEGIN SELECT RAISE(ABORT, 'notice is append-only'); END;
CREATE TRIGGER notice_line_no_update BEFORE UPDATE ON notice_line BEGIN SELECT RAISE(ABORT, 'notice_line is append-only'); END;
CREATE TRIGGER notice_line_no_delete BEFORE DELETE ON notice_line BEGIN SELECT RAISE(ABORT, 'notice_line is append-only'); END;
CREATE TRIGGER billing_outcome_no_update BEFORE UPDATE ON billing_outcome BEGIN SELECT RAISE(ABORT, 'billing_outcome is append-only'); END;
CREATE TRIGGER billing_outcome_no_delete BEFORE DELETE ON billing_outcome BEGIN SELECT RAISE(ABORT, 'billing_outcome is append-only'); END;
-- What may only be taken back, once.
CREATE TRIGGER isee_no_update BEFORE UPDATE ON isee WHEN
    NEW.id IS NOT OLD.id OR NEW.guardian_id IS NOT OLD.guardian_id OR NEW.value_cents IS NOT OLD.value_cents OR NEW.first_day IS NOT OLD.first_day
        OR NEW.last_day IS NOT OLD.last_day OR NEW.filed_on IS NOT OLD.filed_on OR NEW.entered_at IS NOT OLD.entered_at
        OR NEW.entered_by IS NOT OLD.entered_by OR OLD.withdrawn_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'isee is append-only'); END;
CREATE TRIGGER isee_no_delete BEFORE DELETE ON isee BEGIN SELECT RAISE(ABORT, 'isee is append-only'); END;
CREATE TRIGGER relief_no_update BEFORE UPDATE ON relief WHEN
    NEW.id IS NOT OLD.id OR NEW.child_id IS NOT OLD.child_id OR NEW.kind IS NOT OLD.kind OR NEW.reduction_bp IS NOT OLD.reduction_bp
        OR NEW.price_cents IS NOT OLD.price_cents OR NEW.first_day IS NOT OLD.first_day OR NEW.last_day IS NOT OLD.last_day
        OR NEW.reason IS NOT OLD.reason OR NEW.entered_at IS NOT OLD.entered_at OR NEW.entered_by IS NOT OLD.entered_by
        OR OLD.withdrawn_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'relief is append-only'); END;
CREATE TRIGGER relief_no_delete BEFORE DELETE ON relief BEGIN SELECT RAISE(ABORT, 'relief is append-only'); END;
CREATE TRIGGER billing_run_no_delete BEFORE DELETE ON billing_run BEGIN SELECT RAISE(ABORT, 'billing_run is append-only'); END;
CREATE TRIGGER billing_run_ended BEFORE UPDATE ON billing_run WHEN OLD.ended_at IS NOT NULL BEGIN SELECT RAISE(ABORT, 'billing_run has ended'); END;
