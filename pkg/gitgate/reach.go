package gitgate

import (
	"context"
	"errors"
	"time"
)

// reached is an upstream that has said what it has, and waits for a push; err is
// why it does not.
type reached struct {
	state    *state
	line     *line
	receiver *receiver
	has      offer
	err      error

	begun time.Time
	turns int64           // of the repository then
	own   context.Context // with which it ends
	end   func()
	stay  func() bool // has it end with no other context
}

// patience is how long an upstream is left waiting: what it has may change, and it
// may hang up, some servers after five seconds.
const patience = 4 * time.Second

// reach asks an upstream, for as long as ctx lasts.
func (s *Service) reach(ctx context.Context, st *state, r *repo) *reached {
	up := &reached{state: st, begun: time.Now(), turns: r.turns.Load()}
	up.own, up.end = context.WithCancel(context.WithoutCancel(ctx))
	up.follow(ctx)
	if up.line, up.err = s.open(st, r.name); up.err == nil {
		up.receiver, up.has, up.err = up.line.ask(up.own, r.git)
	}
	return up
}

// follow has it end when ctx does, and no longer with another.
func (u *reached) follow(ctx context.Context) {
	if u.stay != nil {
		u.stay()
	}
	u.stay = context.AfterFunc(ctx, u.end)
}

func (u *reached) close() (err error) {
	if u.receiver != nil {
		err = u.receiver.close()
	}
	if u.line != nil {
		u.line.close()
	}
	u.stay()
	u.end()
	return err
}

// fresh says whether what it has said still counts.
func (u *reached) fresh(st *state, r *repo) bool {
	return u.state == st && time.Since(u.begun) < patience && u.turns == r.turns.Load()
}

// leave leaves an upstream that was asked for a client, for the push that may
// follow, and lets go of the one that was left before.
func (r *repo) leave(up *reached) {
	up.follow(context.Background())
	if before := r.waiting.Swap(up); before != nil {
		go before.close()
	}
	time.AfterFunc(patience, func() {
		if r.waiting.CompareAndSwap(up, nil) {
			up.close()
		}
	})
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

// reach asks the upstream what it has while the pack comes in, where it was not
// asked just now. Of the push it is told nothing.
func (p *push) reach(ctx context.Context) {
	ctx, p.leave = context.WithCancel(ctx)
	upstream := make(chan *reached, 1)
	p.upstream = upstream
	if up := p.repo.waiting.Swap(nil); up != nil {
		if up.fresh(p.state, p.repo) {
			up.follow(ctx)
			upstream <- up
			return
		}
		go up.close()
	}
	go func() { upstream <- p.service.reach(ctx, p.state, p.repo) }()
}

// reached is the upstream as it was asked, where that was just now and no push
// has come between, and as it is asked again otherwise.
func (p *push) reached(ctx context.Context) *reached {
	up := <-p.upstream
	p.upstream = nil
	if up.fresh(p.state, p.repo) {
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
