package main

import (
	"context"
	"fmt"
	"time"
)

// pacedRun is how a measurement of chats whose chunks come one by one goes.
type pacedRun struct {
	connections, rounds int
	spread              time.Duration // over which the chats of a round begin, one after the other
	most                time.Duration // that the first byte may be later than direct; 0 if it isn't judged
}

const pacedRounds = 8 // with most connections; more with one, whose rounds tell less

var pacedRuns = []pacedRun{
	{connections: 1, rounds: 4 * pacedRounds, most: 250 * time.Microsecond},
	{connections: most, rounds: pacedRounds, spread: chunks * gap, most: 3 * time.Millisecond},
	{connections: most, rounds: pacedRounds},
}

// paced measures how much later the first byte is here than without foreman,
// and whether any chunk waits for the next.
func (w *ways) paced(ctx context.Context, run pacedRun) ([]figure, error) {
	var sides []*pacedSide
	for _, base := range []string{w.target.url, w.foreman.url(), w.reverse.url} {
		all, err := dialAll(run.connections, chatAt(base, gap))
		if err != nil {
			return nil, err
		}
		defer all.close()
		sides = append(sides, &pacedSide{all, run.spread, make([]delays, run.connections)})
	}
	first, err := alternate(ctx, run.rounds, sides[0].firstByte, sides[1].firstByte, sides[2].firstByte)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("chunks %v apart, %d connections, begun within %v: ", gap, run.connections, run.spread)
	figures := []figure{
		atMost(what+"first byte, p50, later than direct", later(first[1], first[0]), run.most),
		unjudged("the same through httputil.ReverseProxy", later(first[2], first[0])),
	}
	slowest := compare(sides[1].worst(), sides[0].worst())
	figures = append(figures,
		figure{what + "slowest chunk of a chat, p50, against direct", show(slowest.ours), show(slowest.theirs),
			"", "< " + show(gap), verdict(slowest.ours < gap)},
		unjudged("the same through httputil.ReverseProxy", median(sides[2].worst())))
	if run.most == 0 {
		for i := range figures {
			figures[i] = seen(figures[i])
		}
	}
	return figures, nil
}

// later is by how much ours are later in the median round.
func later(ours, theirs []time.Duration) time.Duration {
	differences := make([]time.Duration, len(ours))
	for i := range ours {
		differences[i] = ours[i] - theirs[i]
	}
	return median(differences)
}

// A pacedSide has one chat a round on each connection.
type pacedSide struct {
	conns  conns
	spread time.Duration
	delays []delays // of each connection
}

// firstByte returns the median time to the first chunk of a round.
func (s *pacedSide) firstByte() (time.Duration, error) {
	err := s.conns.each(func(i int, c *conn) error {
		time.Sleep(s.spread * time.Duration(i) / time.Duration(len(s.conns)))
		return s.delays[i].readPaced(c)
	})
	if err != nil {
		return 0, err
	}
	var firsts []time.Duration
	for _, d := range s.delays {
		firsts = append(firsts, d.first[len(d.first)-1])
	}
	return median(firsts), nil
}

func (s *pacedSide) worst() []time.Duration {
	var all []time.Duration
	for _, d := range s.delays {
		all = append(all, d.worst...)
	}
	return all
}
