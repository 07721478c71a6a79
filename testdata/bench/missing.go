package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	absentPath = "/api/chat"
	absentBody = `{"model":"team0/modle-0","messages":[{"role":"user","content":"hi"}]}`
	newNames   = 3
)

// measureMissing compares foreman's refusal of a model that isn't there with
// a bare handler that writes the same bytes.
func measureMissing(ctx context.Context, b *bench) ([]figure, error) {
	d, err := startDaemon(ctx, b, b.targetOf(many))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	bare, err := startRole(ctx, "absent", d.url())
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	c, err := interleaved(ctx, listRounds, perRequest(absentAt(d.url())), perRequest(absentAt(bare.url)))
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("a missing model among %d, ", many)
	first, err := firstRefusal(d.url())
	return []figure{
		timeAtMost(what+"asked for again and again, against a bare 404", c, 1.1),
		unjudged(what+"asked for the first time: the target is looked at, once a second at most", first),
	}, err
}

func absentAt(base string) request {
	return request{http.MethodPost, base + absentPath, absentBody, http.StatusNotFound}
}

// firstRefusal is how long names take that nobody has asked for, one after the
// other.
func firstRefusal(base string) (time.Duration, error) {
	var took []time.Duration
	for i := range newNames {
		r := absentAt(base)
		r.body = fmt.Sprintf(`{"model":"team0/modle-%d"}`, many+i)
		c, err := dial(r)
		if err != nil {
			return 0, err
		}
		once, err := timed(c.whole)()
		_ = c.Close()
		if err != nil {
			return 0, err
		}
		took = append(took, once)
	}
	return median(took), nil
}

// serveAbsent refuses as the foreman at the URL in args does.
func serveAbsent(ctx context.Context, args []string) error {
	r := absentAt(args[0])
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader([]byte(r.body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != r.status {
		return fmt.Errorf("%s %s: %s", r.method, r.url, resp.Status)
	}
	contentType, length := resp.Header.Get("Content-Type"), strconv.Itoa(len(body))
	return serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", length)
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(body)
	}))
}
