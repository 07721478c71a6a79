package riverstore

import (
	"log/slog"
	"net/http"
	"path"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"riverqueue.com/riverui"
)

// UI is River's pages for below prefix. They are to look only: what their
// buttons would change is River's row alone, without the rules that
// foreman's own routes keep, so all but reading is refused.
func (s *Store) UI(prefix string, log *slog.Logger) (http.Handler, error) {
	log = slog.New(onlyWarnings{log.Handler()})
	client, err := river.NewClient(riversqlite.New(s.pages), &river.Config{Logger: log})
	if err != nil {
		return nil, err
	}
	// It isn't started: that would count all jobs over and over for totals
	// beyond 10,000, which it estimates otherwise.
	pages, err := riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(client, nil), Logger: log, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusMethodNotAllowed)
			_, _ = w.Write([]byte(`{"message":"these pages only show: foreman jobs cancel and foreman jobs retry change a job"}` + "\n"))
			return
		}
		if path.Ext(r.URL.Path) == ".svg" {
			w = svgWriter{w}
		}
		pages.ServeHTTP(w, r)
	}), nil
}

// An svgWriter says that what is written is SVG: River's handler goes by the
// first bytes, and takes it for text, which browsers don't show as an icon.
type svgWriter struct{ http.ResponseWriter }

func (w svgWriter) Write(body []byte) (int, error) {
	w.Header().Set("Content-Type", "image/svg+xml")
	return w.ResponseWriter.Write(body)
}
