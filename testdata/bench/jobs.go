package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/plugins/sim"

	_ "modernc.org/sqlite" // the database of the jobs
)

const (
	queued       = 1_000_000
	queuedModels = 50
	submits      = 2000
	submitCosts  = 20 * time.Millisecond
	queueWeighs  = size(200_000_000)
)

// measureMillion measures a foreman in whose store a million jobs wait.
func measureMillion(ctx context.Context, b *bench) ([]figure, error) {
	target, err := startRole(ctx, "stuck")
	if err != nil {
		return nil, err
	}
	defer target.stop()
	s, err := newSetup(b, target.url)
	if err != nil {
		return nil, err
	}
	s.parallel = 1
	if err := s.write(fmt.Sprintf("[jobs]\nmax_queued = %d\n", 2*queued)); err != nil {
		return nil, err
	}
	few, err := s.submitting(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	state := filepath.Join(s.home, ".local", "state", "foreman")
	fill, err := startRole(ctx, "fill", filepath.Join(state, "jobs.db"), strconv.Itoa(queued))
	if err != nil {
		return nil, err
	}
	fill.stop()
	filled := time.Since(began)
	all, err := s.submitting(ctx)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("while %s jobs wait: ", amount(all.waiting))
	figures := []figure{
		atMost(what+fmt.Sprintf("submit, p99 of %d", submits), slowestButOne(all.took), submitCosts),
		unjudged(what+"submit, median", median(all.took)),
		unjudged("the same while few wait", median(few.took)),
		unjudged(what+"from start to ready", all.started),
		unjudged("to fill the store with them", filled),
	}
	if all.waiting < queued {
		return figures, fmt.Errorf("%d jobs wait, and not %d", all.waiting, queued)
	}
	if !hasProc() {
		return append(figures, skipped(what+"resident memory", "no /proc here")), nil
	}
	return append(figures,
		atMost(what+"resident memory more than while few wait", all.resident-few.resident, queueWeighs),
		unjudged(what+"resident memory", all.resident)), nil
}

// submitting is how a daemon does that takes jobs.
type submitting struct {
	took     []time.Duration // of each submit
	started  time.Duration
	resident size
	waiting  int
}

// submitting starts a daemon, has it take jobs, and stops it.
func (s *setup) submitting(ctx context.Context) (did submitting, err error) {
	began := time.Now()
	d, err := s.serve(ctx)
	if err != nil {
		return did, err
	}
	defer d.stop()
	did.started = time.Since(began)
	client := api.NewClient(s.listen, "")
	for n := range submits {
		request := core.JobRequest{Path: "/api/chat", Body: fmt.Appendf(nil, chatOf, n%queuedModels, n, strings.Repeat("why ", 100))}
		began := time.Now()
		if _, err := client.Submit(ctx, request); err != nil {
			return did, err
		}
		did.took = append(did.took, time.Since(began))
	}
	queue, err := client.Queue(ctx)
	if err != nil {
		return did, err
	}
	did.waiting = queue.Jobs[core.JobQueued]
	if hasProc() {
		did.resident, err = rss(d.cmd.Process.Pid)
	}
	return did, err
}

// chatOf is a job's body: the model's number, the job's, and a prompt.
const chatOf = `{"model":"model-%d","tag":"%d","messages":[{"role":"user","content":%q}]}`

// serveStuck is a target that is well and never answers a chat.
func serveStuck(ctx context.Context, _ []string) error {
	var installed []sim.Model
	for n := range queuedModels {
		installed = append(installed, sim.Model{Name: fmt.Sprintf("model-%d", n), Size: 20 << 30})
	}
	s := sim.New(sim.Options{Models: installed, Instant: true})
	s.Fail("/api/chat", sim.Hang())
	return serve(ctx, http.HandlerFunc(s.Handler().ServeHTTP))
}

// fillStore multiplies the jobs that wait in the database in args until there
// are about as many as args say: to submit them would take an hour.
func fillStore(ctx context.Context, args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+args[0]+"?_pragma=synchronous(OFF)&_pragma=cache_size(-200000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if err := multiply(ctx, db, count); err != nil {
		return err
	}
	fmt.Println("filled")
	return nil
}

// multiply copies each job that waits; the copies come after it, and in
// River's table too.
func multiply(ctx context.Context, db *sql.DB, count int) error {
	var jobs, lastRiver int
	if err := db.QueryRowContext(ctx, `SELECT count(*), (SELECT max(id) FROM river_job) FROM foreman_job WHERE lane IS NOT NULL`).Scan(&jobs, &lastRiver); err != nil {
		return err
	}
	river, err := columns(ctx, db, "river_job", map[string]string{"id": "c.river"})
	if err != nil {
		return err
	}
	job, err := columns(ctx, db, "foreman_job", map[string]string{
		"id": "c.id", "river_id": "c.river", "job": "CAST(replace(CAST(t.job AS TEXT), t.id, c.id) AS BLOB)",
	})
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`CREATE TEMP TABLE template AS SELECT id, river_id, row_number() OVER (ORDER BY id) AS k FROM foreman_job WHERE lane IS NOT NULL`,
		fmt.Sprintf(`CREATE TEMP TABLE copies AS WITH RECURSIVE i(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n + 1 < %d)
			SELECT substr(t.id, 1, 10) || printf('%%016X', n * %d + k) AS id, %d + n * %[2]d + k AS river, t.id AS of, t.river_id AS of_river
			FROM i JOIN template t`, count/jobs, jobs, lastRiver),
		`INSERT INTO river_job (` + river.names + `) SELECT ` + river.values + ` FROM copies c JOIN river_job t ON t.id = c.of_river`,
		`INSERT INTO foreman_job (` + job.names + `) SELECT ` + job.values + ` FROM copies c JOIN foreman_job t ON t.id = c.of`,
		`INSERT INTO foreman_payload (id, body) SELECT c.id, t.body FROM copies c JOIN foreman_payload t ON t.id = c.of`,
		`UPDATE foreman_count SET n = (SELECT count(*) FROM foreman_job WHERE state = 'queued') WHERE state = 'queued'`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%w in %s", err, statement)
		}
	}
	return nil
}

// copied is the columns of a table, and what a copy has in them.
type copied struct{ names, values string }

// columns copies all but what changed says.
func columns(ctx context.Context, db *sql.DB, table string, changed map[string]string) (copied, error) {
	rows, err := db.QueryContext(ctx, `SELECT name FROM pragma_table_info(?)`, table)
	if err != nil {
		return copied{}, err
	}
	defer func() { _ = rows.Close() }()
	var names, values []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return copied{}, err
		}
		value, ok := changed[name]
		if !ok {
			value = "t." + name
		}
		names, values = append(names, name), append(values, value)
	}
	return copied{strings.Join(names, ", "), strings.Join(values, ", ")}, rows.Err()
}
