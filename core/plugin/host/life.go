package host

import (
	"context"
	"errors"
	"time"
)

const pingTimeout = time.Second

// errSwapped ends the life of a process that another one replaces.
var errSwapped = errors.New("it was replaced")

// A life is one process of a slot, from its start to its end, followed by a
// goroutine of its own. Once it was ended nobody reads its news.
type life[P any] struct {
	news chan news[P] // of capacity 2, which is all there is: it runs, it is down
	end  context.CancelCauseFunc
}

type news[P any] struct {
	process P     // runs, if err is nil
	err     error // why it doesn't
}

// startLife starts a process and follows it.
func (s *slot[P]) startLife(run context.Context) life[P] {
	start := s.start
	return s.live(run, func(ctx context.Context, l life[P]) {
		p, err := start(ctx)
		l.news <- news[P]{p, err}
		if err == nil {
			s.follow(run, ctx, p, l)
		}
	})
}

// goOn follows a process that runs already.
func (s *slot[P]) goOn(run context.Context, p P) life[P] {
	return s.live(run, func(ctx context.Context, l life[P]) { s.follow(run, ctx, p, l) })
}

func (s *slot[P]) live(run context.Context, f func(context.Context, life[P])) life[P] {
	ctx, end := context.WithCancelCause(run)
	l := life[P]{make(chan news[P], 2), end}
	s.began = time.Now()
	s.lives.Go(func() {
		defer end(nil)
		f(ctx, l)
	})
	return l
}

// follow returns once the process is gone, whether it ended, went silent, or
// its context ctx did. One that is replaced may finish its calls, unless run
// ends.
func (s *slot[P]) follow(run, ctx context.Context, p P, l life[P]) {
	process := p.base()
	l.news <- news[P]{err: process.watch(ctx)}
	if errors.Is(context.Cause(ctx), errSwapped) {
		timer := time.NewTimer(swapTimeout)
		defer timer.Stop()
		select {
		case <-process.calls.close():
		case <-run.Done():
		case <-timer.C:
		}
	}
	process.Stop()
}

// watch returns when p has ended, has gone silent, or ctx has ended.
func (p *process) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		cancel(p.lost(ctx))
	}()
	defer func() { cancel(nil); <-lost }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.suspect:
			ping, done := context.WithTimeout(ctx, pingTimeout)
			err := p.Ping(ping)
			done()
			if err != nil && ctx.Err() == nil {
				p.run.kill() // it wouldn't leave by itself either
				return errors.New("it hung and was killed")
			}
		}
	}
}
