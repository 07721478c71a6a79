package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// A figure is a line of the table.
type figure struct {
	what, measured, reference string
	ratio, bound              string
	verdict                   string // ok, MISS, or why there is none
}

// A quantity is something measured.
type quantity interface {
	~int64 | ~float64
	fmt.Stringer
}

// rate is in requests a second.
type rate float64

func perSecond(each time.Duration) rate { return rate(time.Second) / rate(each) }

func (r rate) String() string { return humanize.Comma(int64(r)) + "/s" }

// size is in bytes.
type size int64

func (s size) String() string {
	if s < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(s)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(s)/1e6)
}

// amount is of things that can be counted.
type amount int64

func (a amount) String() string { return humanize.Comma(int64(a)) }

// percent is a share of one core, in percent.
type percent float64

func (p percent) String() string { return fmt.Sprintf("%.3f %%", float64(p)) }

// rateAtLeast judges how often a second something is done.
func rateAtLeast(what string, c comparison, least float64) figure {
	return figure{what, perSecond(c.ours).String(), perSecond(c.theirs).String(),
		fmt.Sprintf("%.3f", 1/c.ratio), fmt.Sprintf(">= %.2f", least), verdict(1/c.ratio >= least)}
}

// timeAtMost judges how long something takes.
func timeAtMost(what string, c comparison, most float64) figure {
	return ratioAtMost(what, show(c.ours), show(c.theirs), c.ratio, most)
}

// sizeAtMost judges how much something takes.
func sizeAtMost(what string, measured, reference size, most float64) figure {
	return ratioAtMost(what, show(measured), show(reference), float64(measured)/float64(reference), most)
}

func ratioAtMost(what, measured, reference string, ratio, most float64) figure {
	return figure{what, measured, reference, fmt.Sprintf("%.3f", ratio), fmt.Sprintf("<= %.2f", most), verdict(ratio <= most)}
}

func atMost[T quantity](what string, measured, most T) figure {
	return figure{what: what, measured: show(measured), bound: "<= " + show(most), verdict: verdict(measured <= most)}
}

// unjudged is a line that explains others.
func unjudged[T quantity](what string, measured T) figure {
	return figure{what: what, measured: show(measured), verdict: "-"}
}

// seen is f without a verdict.
func seen(f figure) figure {
	f.bound, f.verdict = "", "-"
	return f
}

// skipped is a line for what can't be measured here.
func skipped(what, why string) figure { return figure{what: what, verdict: "skipped: " + why} }

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return miss
}

const miss = "MISS"

func missed(figures []figure) bool {
	return slices.ContainsFunc(figures, func(f figure) bool { return f.verdict == miss })
}

// show is q with three significant digits, where it is a duration.
func show[T quantity](q T) string {
	d, ok := any(q).(time.Duration)
	if !ok || d == 0 {
		return q.String()
	}
	digits := math.Floor(math.Log10(math.Abs(float64(d)))) - 2
	return d.Round(time.Duration(math.Pow10(max(0, int(digits))))).String()
}

func printTable(w io.Writer, figures []figure) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) }
	line("WHAT", "MEASURED", "REFERENCE", "RATIO", "BOUND", "")
	for _, f := range figures {
		line(f.what, f.measured, f.reference, f.ratio, f.bound, f.verdict)
	}
	_ = table.Flush() // to stdout: nobody is left to tell
}
