package gitgate

import (
	"context"
	"errors"
	"time"
)

// reached is an upstream that has said what it has, and waits for a push; err is
// why it does not.
type reached struct {
	line     *line
	receiver *receiver
	has      offer
	err      error

	begun time.Time
	turns int64 // of the repository then
}

// patience is how long an upstream is left waiting: what it has may change, and it
// may hang up.
const patience = 30 * time.Second

func (s *Service) reach(ctx context.Context, st *state, r *repo) *reached {
	up := &reached{begun: time.Now(), turns: r.turns.Load()}
	if up.line, up.err = s.open(st, r.name); up.err == nil {
		up.receiver, up.has, up.err = up.line.ask(ctx, r.git)
	}
	return up
}

func (u *reached) close() (err error) {
	if u.receiver != nil {
		err = u.receiver.close()
	}
	if u.line != nil {
		u.line.close()
	}
	return err
}

// ask begins to push, and reads what upstream says first.
func (l *line) ask(ctx context.Context, g git) (*receiver, offer, error) {
	up, err := l.receiver(ctx, g)
	if err != nil {
		return nil, offer{}, err
	}
	has, err := readOffer(up.offer)
	if err != nil {
		return nil, has, errors.Join(err, up.close())
	}
	return up, has, nil
}

// reach asks the upstream what it has while the pack comes in. Of the push it is
// told nothing.
func (p *push) reach(ctx context.Context) {
	ctx, p.leave = context.WithCancel(ctx)
	upstream := make(chan *reached, 1)
	go func() { upstream <- p.service.reach(ctx, p.state, p.repo) }()
	p.upstream = upstream
}

// reached is the upstream as it was asked, where that was just now and no push
// has come between, and as it is asked again otherwise.
func (p *push) reached(ctx context.Context) *reached {
	up := <-p.upstream
	p.upstream = nil
	if time.Since(up.begun) < patience && up.turns == p.repo.turns.Load() {
		return up
	}
	up.close()
	return p.service.reach(ctx, p.state, p.repo)
}

// hangUp lets go of an upstream that was not sent anything.
func (p *push) hangUp() {
	p.leave()
	if p.upstream != nil {
		(<-p.upstream).close()
	}
}
