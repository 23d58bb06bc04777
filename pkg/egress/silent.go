package egress

import (
	"context"
	"net"
	"time"

	"bottle/pkg/bottle"
)

// A program that hangs tells nobody, so that pipelock is asked how it does: seldom
// while it answers, at once where a way through it fails, and often while it is
// silent. One that is being restarted misses a question.
const (
	silentPause = 10 * time.Second
	silentSoon  = time.Second
	silentAfter = 2 // questions without an answer
)

// watchBehind asks until the server ends, and has it told when that changes.
func (s *Server) watchBehind(answers func(context.Context) error, seldom, soon time.Duration) {
	missed, asked := 0, time.Time{}
	pause := time.NewTimer(seldom)
	defer pause.Stop()
	for {
		select {
		case <-s.ending:
			return
		case <-s.doubt:
			if since := time.Since(asked); since < soon { // an agent can bring it about as often as it likes
				pause.Reset(soon - since)
				continue
			}
		case <-pause.C:
		}
		err := answers(s.ctx)
		if s.ctx.Err() != nil {
			return
		}
		asked = time.Now()
		if missed++; err == nil {
			missed = 0
		}
		s.tellSilent(missed >= silentAfter, err)
		if pause.Reset(seldom); missed > 0 {
			pause.Reset(soon)
		}
	}
}

// doubting is how upstreams are dialled where pipelock is asked when that fails.
func (s *Server) doubting(cfg Config) func(context.Context, string, int, bool) (*net.TCPConn, error) {
	if cfg.Answers == nil {
		return cfg.Dial
	}
	return func(ctx context.Context, host string, port int, private bool) (*net.TCPConn, error) {
		conn, err := cfg.Dial(ctx, host, port, private)
		if err != nil {
			select {
			case s.doubt <- struct{}{}:
			default: // somebody said so already
			}
		}
		return conn, err
	}
}

// tellSilent tells the host whether pipelock is silent, where that changed.
func (s *Server) tellSilent(silent bool, why error) {
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	if s.force.applied.Silent == silent {
		return
	}
	s.force.applied.Silent = silent
	ev := bottle.Event{Kind: "pipelock", Reason: "it answers again"}
	if silent {
		ev.Verdict, ev.Reason = "error", why.Error()
	}
	if err := s.tell(); err != nil {
		ev.Detail = err.Error()
	}
	s.record(ev)
}
