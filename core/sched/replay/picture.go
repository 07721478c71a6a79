package replay

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// What the picture measures, in pixels.
const (
	marginLeft  = 80
	marginRight = 30
	plotWidth   = 1200
	barHeight   = 26
	rowGap      = 14
	legend      = 34
)

// palette colours the models, in the order of their first request.
var palette = []string{"#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#e15759", "#9c755f"}

// SVG draws the schedules of t as timelines, one under the other: runs in the
// colour of their model, loads hatched.
func (c Comparison) SVG(t Trace, parallel int) []byte {
	d := drawing{trace: t}
	d.models, _ = t.models()
	var last time.Duration
	for _, s := range c.Schedules {
		last = max(last, s.makespan())
	}
	d.scale = plotWidth / max(1, last.Seconds())
	row := parallel*barHeight + rowGap
	height := legend + row*len(c.Schedules) + 24
	fmt.Fprintf(&d.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<defs><pattern id="load" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#ccc"/><line y2="6" stroke="#666" stroke-width="3"/></pattern></defs>
<rect width="100%%" height="100%%" fill="#fff"/>
`, marginLeft+plotWidth+marginRight, height)
	d.legend()
	for i, s := range c.Schedules {
		d.row(s, legend+i*row, parallel)
	}
	d.axis(last, height-22)
	d.out.WriteString("</svg>\n")
	return d.out.Bytes()
}

type drawing struct {
	trace  Trace
	models []core.ModelName
	scale  float64 // pixels a second
	out    bytes.Buffer
}

func (d *drawing) colour(m core.ModelName) string {
	return palette[slices.Index(d.models, m)%len(palette)]
}

func (d *drawing) legend() {
	x := marginLeft
	entry := func(fill, text string) {
		fmt.Fprintf(&d.out, `<rect x="%d" y="8" width="12" height="12" fill="%s"/><text x="%d" y="18">%s</text>`+"\n",
			x, fill, x+16, html.EscapeString(text))
		x += 40 + 13*len(text)/2
	}
	for _, m := range d.models {
		entry(d.colour(m), m.String())
	}
	entry("url(#load)", "loading")
}

func (d *drawing) row(s Schedule, y, parallel int) {
	fmt.Fprintf(&d.out, `<text x="8" y="%d">%s</text><text x="8" y="%d" font-size="10" fill="#666">%d swaps</text>`+"\n",
		y+11, html.EscapeString(s.Policy), y+24, len(s.Loads))
	fmt.Fprintf(&d.out, `<rect x="%d" y="%d" width="%d" height="%d" fill="#f3f3f3"/>`+"\n",
		marginLeft, y, plotWidth, parallel*barHeight)
	for _, l := range s.Loads {
		d.bar(l.Start, l.End, y, parallel*barHeight, "url(#load)", "loading "+l.Model.String())
	}
	for _, run := range s.Runs {
		r := d.trace.Requests[run.Request]
		d.bar(run.Start, run.End, y+run.Slot*barHeight, barHeight, d.colour(r.Model),
			fmt.Sprintf("%s, came at %s, waited %s", r.Model, r.Arrival.Round(time.Second), (run.Start-r.Arrival).Round(time.Second)))
	}
}

// bar draws a span, half a pixel wide at least, with a title that shows under
// the pointer.
func (d *drawing) bar(start, end time.Duration, y, height int, fill, title string) {
	fmt.Fprintf(&d.out, `<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"><title>%s</title></rect>`+"\n",
		marginLeft+start.Seconds()*d.scale, y, max(0.5, (end-start).Seconds()*d.scale), height, fill, html.EscapeString(title))
}

// axis draws some ten ticks at round times.
func (d *drawing) axis(last time.Duration, y int) {
	step := time.Second
	for _, s := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour} {
		if last > 12*step {
			step = s
		}
	}
	step *= max(1, last/(12*step))
	for at := time.Duration(0); at <= last; at += step {
		x := marginLeft + at.Seconds()*d.scale
		fmt.Fprintf(&d.out, `<line x1="%.2f" x2="%.2f" y1="%d" y2="%d" stroke="#aaa"/><text x="%.2f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, x, y-6, y, x, y+14, short(at))
	}
}

// short is 1h30m for what would be 1h30m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
