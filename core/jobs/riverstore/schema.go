package riverstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/riverqueue/river/riverdriver"
)

// A dialect is where databases differ in what this package asks of them.
type dialect struct {
	bytes string // the type of a string of bytes
	lock  string // what a SELECT ends with that keeps its row from others
}

var sqliteDialect = dialect{bytes: "BLOB"} // its transactions lock the file as they begin

// version counts the changes of the schema.
const version = 1

// schema is of the version. Times are in microseconds since 1970. What is
// NULL isn't in an index: each of them holds only jobs that it is asked for.
const schema = `
CREATE TABLE foreman_schema (version BIGINT NOT NULL);

CREATE TABLE foreman_job (
	id              TEXT NOT NULL PRIMARY KEY,
	river_id        BIGINT NOT NULL,
	model           TEXT NOT NULL,
	state           TEXT NOT NULL,
	lane            TEXT,     -- while it waits and is due: see laneOf
	not_before      BIGINT,   -- while it waits and isn't due
	expires_at      BIGINT,   -- while it waits
	ended_at        BIGINT,
	node            TEXT,     -- who has claimed it
	cancel          SMALLINT NOT NULL, -- 1 if that node shall cancel it
	untold          SMALLINT NOT NULL, -- 1 if its webhook has yet to hear that it has ended
	caller          TEXT NOT NULL,
	idempotency_key TEXT,
	job             BYTES NOT NULL -- core.Job as JSON
);
CREATE INDEX foreman_job_lane    ON foreman_job (lane, id)         WHERE lane IS NOT NULL;
CREATE INDEX foreman_job_later   ON foreman_job (not_before, id)   WHERE not_before IS NOT NULL;
CREATE INDEX foreman_job_expiry  ON foreman_job (expires_at)       WHERE expires_at IS NOT NULL;
CREATE INDEX foreman_job_ended   ON foreman_job (ended_at, id)     WHERE ended_at IS NOT NULL;
CREATE INDEX foreman_job_node    ON foreman_job (node)             WHERE node IS NOT NULL;
CREATE INDEX foreman_job_untold  ON foreman_job (ended_at)         WHERE untold = 1;
CREATE INDEX foreman_job_state   ON foreman_job (state, id);
CREATE INDEX foreman_job_model   ON foreman_job (model, id, state);
CREATE UNIQUE INDEX foreman_job_key ON foreman_job (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE foreman_payload (id TEXT NOT NULL PRIMARY KEY, body BYTES NOT NULL);
CREATE TABLE foreman_result (
	id           TEXT NOT NULL PRIMARY KEY,
	status       INTEGER NOT NULL,
	content_type TEXT NOT NULL,
	body         BYTES NOT NULL
);

-- How many jobs are in each state: to count a million takes long.
CREATE TABLE foreman_count (state TEXT NOT NULL PRIMARY KEY, n BIGINT NOT NULL);
`

// migrate makes the tables in a new database.
func (tx *txn) migrate(ctx context.Context, dialect dialect) error {
	known, err := tx.river.TableExists(ctx, &riverdriver.TableExistsParams{Table: "foreman_schema"})
	if err != nil {
		return err
	}
	if !known {
		for statement := range strings.SplitSeq(strings.ReplaceAll(schema, "BYTES", dialect.bytes), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO foreman_schema (version) VALUES ($1)`, version)
		return err
	}
	var found int
	if err := tx.QueryRowContext(ctx, `SELECT version FROM foreman_schema`).Scan(&found); err != nil {
		return err
	}
	if found > version {
		return fmt.Errorf("it is of a newer foreman (schema %d, this one knows %d): use that one, or another state_dir", found, version)
	}
	return nil
}
