package riverstore

import (
	"fmt"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// What is looked up while many jobs wait, each by an index.
const (
	nextQuery      = `SELECT min(not_before) FROM foreman_job WHERE not_before IS NOT NULL`
	dueQuery       = `SELECT id FROM foreman_job WHERE not_before <= $1 ORDER BY not_before, id LIMIT $2`
	expiredQuery   = `SELECT job FROM foreman_job WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2`
	oldQuery       = `SELECT id FROM foreman_job WHERE ended_at < $1 ORDER BY ended_at, id LIMIT $2`
	ownedQuery     = `SELECT id FROM foreman_job WHERE node = $1`
	cancelledQuery = `SELECT id FROM foreman_job WHERE node = $1 AND cancel = 1`
	untoldQuery    = `SELECT job FROM foreman_job WHERE untold = 1 AND ended_at > 0 ORDER BY ended_at LIMIT $1`
	keyQuery       = `SELECT job FROM foreman_job WHERE caller = $1 AND idempotency_key = $2`

	aheadQuery = `SELECT
	(SELECT count(*) FROM foreman_job WHERE lane >= $1 AND lane < $2) +
	(SELECT count(*) FROM foreman_job WHERE lane = $2 AND id < $3)`
)

// headsQuery walks from lane to lane, and takes the first jobs of each: the
// index leads to either, however many jobs there are.
const headsQuery = `
WITH RECURSIVE lanes (lane) AS (
	SELECT min(lane) FROM foreman_job WHERE lane IS NOT NULL
	UNION ALL
	SELECT (SELECT min(lane) FROM foreman_job WHERE lane > lanes.lane) FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT job FROM lanes JOIN foreman_job head ON head.id IN (
	SELECT id FROM foreman_job WHERE lane = lanes.lane ORDER BY id LIMIT $1
)
ORDER BY lanes.lane, head.id`

// listQuery asks for one job more than a page has, to see whether it is the
// last.
func listQuery(query core.JobQuery) (statement string, args []any) {
	where := []string{"1 = 1"}
	filter := func(condition string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf("%s $%d", condition, len(args)))
	}
	if query.Model != "" {
		filter("model =", core.NameOf(query.Model).String())
	}
	if query.State != "" {
		filter("state =", string(query.State))
	}
	if query.Cursor != "" {
		filter("id <", query.Cursor)
	}
	args = append(args, query.Limit+1)
	return fmt.Sprintf(`SELECT job FROM foreman_job WHERE %s ORDER BY id DESC LIMIT $%d`, strings.Join(where, " AND "), len(args)), args
}
