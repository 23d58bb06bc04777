package gitgate

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"bottle/pkg/bottle"
)

// push is one push under way.
type push struct {
	request
	*state
	repo       *repo
	remote     bottle.GateRemote
	quarantine string
	kept       chan error        // what is in it has reached the disk
	sent       int               // objects of the pack that the client sent
	looked     *pass             // through its objects
	seen       []seen            // while the pack came in
	paths      map[string]string // of its files, where all that its objects name is among them
	pack       *pack             // of the quarantine; nil: there are no objects in it
	answer     *answer
	upstream   <-chan *reached // nil: it is not asked, or was taken
	leave      func()          // ends the asking

	objects  int   // that it brought
	size     int64 // bytes of its pack
	found    []found
	misnamed bool   // a ref's name is found fault with: nobody is asked, for it would be shown
	held     string // id of the proposal that it became
	told     bool   // why it is refused was said
}

// found is a finding with what a person needs to know of it.
type found struct {
	rule, where    string
	object, commit string
	fingerprint    string
}

// refusal is why all of a push is refused: for the person, and the word that git
// puts behind each ref.
type refusal struct{ text, word string }

func (r *refusal) Error() string { return r.text }

func refuse(word, format string, args ...any) error {
	return &refusal{text: fmt.Sprintf(format, args...), word: word}
}

// Words behind a ref that is refused.
const (
	wordHeld     = "held by git-gate"
	wordRejected = "rejected by the operator"
	wordPolicy   = "refused by git-gate"
	wordUnready  = "git-gate is not ready"
	wordUpstream = "upstream cannot be reached"
	wordTogether = "atomic push failed"
)

// run takes a push to its end and answers it. The error is nil where the push was
// accepted.
func (p *push) run(ctx context.Context, body *bufio.Reader) error {
	err := p.attempt(ctx, body)
	unpacked := unpackedOK
	var broken *unpackError
	switch {
	case errors.As(err, &broken):
		unpacked = inert(broken.Error())
	case err != nil:
		p.spread(err)
	}
	p.answer.report(unpacked, p.commands)
	return err
}

// spread says of every ref why it was not taken: it is all or nothing.
func (p *push) spread(err error) {
	word := "git-gate failed"
	var r *refusal
	if errors.As(err, &r) {
		word = r.word
	}
	if !p.told {
		p.answer.say("git-gate: %s", inert(err.Error()))
	}
	some := false
	for _, c := range p.commands {
		some = some || c.reason != ""
	}
	for _, c := range p.commands {
		switch {
		case c.reason != "":
		case some:
			c.reason = wordTogether
		default:
			c.reason = word
		}
	}
}

// unpackError is a pack that git did not take.
type unpackError struct{ err error }

func (e *unpackError) Error() string { return e.err.Error() }
func (e *unpackError) Unwrap() error { return e.err }

func (p *push) attempt(ctx context.Context, body *bufio.Reader) error {
	if lacking := p.lacking; len(lacking) > 0 {
		return refuse(wordUnready, "the gate was restarted and lacks %s: the operator runs bottle-start --resume", strings.Join(lacking, ", "))
	}
	early := p.checkRefs()
	if early == nil && p.remote.Upstream != "" {
		p.reach(ctx)
		defer p.hangUp()
	}
	if p.brings() {
		var err error
		p.looked = &pass{s: p.scanner, most: max(minInflated, inflateMost*p.conf.Push.MaxSize), names: map[string]bool{}, modules: map[string]bool{}}
		if p.quarantine, err = p.repo.newQuarantine(); err != nil {
			return fmt.Errorf("cannot make a quarantine: %w", err)
		}
		defer os.RemoveAll(p.quarantine)
		if err := p.unpack(ctx, body, early == nil && !p.mayKnow()); err != nil {
			return &unpackError{err}
		}
		p.kept = make(chan error, 1)
		go func() { p.kept <- keep(p.quarantine) }()
		if p.sent > 0 {
			if p.pack, err = openPack(p.quarantine, p.repo.format, p.seen); err != nil {
				return err
			}
			defer p.pack.close()
		}
	}
	if early != nil {
		return early
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	p.seen, p.paths, p.looked = nil, nil, nil // upstream may take its time
	if err := p.judge(ctx); err != nil {
		return err
	}
	return p.pass(ctx)
}

// look looks through the objects, and meanwhile at what the refs lead to. What
// is wrong with a ref does not end the scan: what that finds is recorded.
func (p *push) look(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var paths map[string]string
	named, led := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		paths, err = p.connected(ctx)
		close(named)
		if err == nil {
			err = p.checkHistory(ctx)
		} else {
			cancel(err)
		}
		led <- err
	}()
	scanned := p.scan(ctx, func() map[string]string { <-named; return paths })
	if scanned != nil {
		cancel(scanned)
	}
	if err := <-led; scanned == nil {
		return err
	}
	return context.Cause(ctx) // what failed first
}

// brings says whether a pack follows the commands.
func (p *push) brings() bool {
	for _, c := range p.commands {
		if !isZero(c.New) {
			return true
		}
	}
	return false
}

// checkRefs checks the refs by their names. Secrets in a name are found here.
func (p *push) checkRefs() error {
	failed := false
	for _, c := range p.commands {
		c.reason = checkRef(p.conf.Push, c.PushUpdate)
		failed = failed || c.reason != ""
	}
	if failed {
		p.told = true
		return refuse(wordTogether, "a ref is refused")
	}
	return nil
}

// unpack takes the pack into the quarantine, and may look through it meanwhile.
func (p *push) unpack(ctx context.Context, body *bufio.Reader, look bool) error {
	head, err := body.Peek(12)
	if err != nil || string(head[:4]) != "PACK" {
		return errors.New("there is no pack in it")
	}
	count := &counting{r: body}
	defer func() { p.size = count.n }()
	n := binary.BigEndian.Uint32(head[8:])
	if n > maxObjects {
		return errTooMany
	}
	if p.sent = int(n); n == 0 { // only refs to what is here already
		_, err := io.Copy(io.Discard, io.LimitReader(count, 64))
		return err
	}
	if look && p.service.looks.TryLock() {
		defer p.service.looks.Unlock()
		err = p.follow(ctx, count)
	} else {
		err = p.indexPack(ctx, count)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("it took too long: %w", err)
	case count.n > p.conf.Push.MaxSize:
		return fmt.Errorf("pack exceeds maximum allowed size of %d bytes", p.conf.Push.MaxSize)
	}
	return err
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// git is git on the repository and what the push brings.
func (p *push) git() git {
	if p.quarantine == "" {
		return p.repo.git
	}
	return p.repo.git.in(p.quarantine)
}

// tips are the IDs that the refs are to have, as lines.
func (p *push) tips() string {
	var b strings.Builder
	for _, c := range p.commands {
		b.WriteString(c.New + "\n")
	}
	return b.String()
}

// scan looks through the names of the refs and every object that is new.
func (p *push) scan(ctx context.Context, paths func() map[string]string) error {
	for _, c := range p.commands {
		for _, h := range p.scanner.text("", []byte(c.Ref)) {
			p.found = append(p.found, found{rule: h.rule, where: "the name of a ref", object: c.New, commit: c.New, fingerprint: h.fingerprint})
			p.misnamed = true
		}
	}
	if p.pack == nil {
		return nil
	}
	known, err := p.known(ctx)
	if err != nil {
		return err
	}
	pass := p.looked
	pass.paths, pass.skip = paths, known
	err = pass.run(ctx, p.pack, p.repo.git.only(p.quarantine))
	p.objects = pass.objects
	if err != nil {
		return err
	}
	if err := p.checkModules(ctx, pass); err != nil {
		return err
	}
	if err := p.news(ctx, pass); err != nil {
		return err
	}
	return p.locate(ctx, pass)
}

// news leaves out what was found in objects that the repository has already:
// they were upstream's, or have passed. A pack brings such as the bases of others.
func (p *push) news(ctx context.Context, pass *pass) error {
	if len(pass.hits) == 0 {
		return nil
	}
	var ids strings.Builder
	for _, h := range pass.hits {
		ids.WriteString(h.object.id + "\n")
	}
	list, err := p.repo.git.out(ctx, ids.String(), "cat-file", "--batch-check", "--buffer")
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for line := range strings.Lines(list) {
		if id, ok := strings.CutSuffix(line, " missing\n"); ok {
			missing[id] = true
		}
	}
	pass.hits = slices.DeleteFunc(pass.hits, func(h objectHit) bool { return !missing[h.object.id] })
	return nil
}

// mayKnow says whether there may be objects that are not looked at.
func (p *push) mayKnow() bool { return p.remote.Upstream == "" && len(p.conf.Known) > 0 }

// known is what the operator's own folder had, where nothing leaves this machine:
// he need not be kept from what is his.
func (p *push) known(ctx context.Context) (map[string]bool, error) {
	if !p.mayKnow() {
		return nil, nil
	}
	tips, err := p.git().commits(ctx, p.conf.Known)
	if err != nil || len(tips) == 0 {
		return nil, err
	}
	list, err := p.git().out(ctx, strings.Join(tips, "\n")+"\n", "rev-list", "--objects", "--no-object-names", "--stdin", "--not", "--all")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for id := range strings.Lines(list) {
		known[strings.TrimSuffix(id, "\n")] = true
	}
	return known, nil
}

const maxModules = 1 << 20 // bytes of a .gitmodules

// checkModules checks what trees call .gitmodules.
func (p *push) checkModules(ctx context.Context, pass *pass) error {
	for id := range pass.modules {
		text := &bounded{left: maxModules}
		err := p.git().run(ctx, nil, text, "cat-file", "blob", id)
		var list string
		if err == nil {
			list, err = p.git().out(ctx, text.buf.String(), "config", "-z", "--no-includes", "--list", "--file", "-")
		}
		why := "it cannot be read"
		if err == nil {
			why = checkGitmodules(list)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if why != "" {
			pass.hits = append(pass.hits, objectHit{hit{rule: ruleGitmodules}, object{id: id, kind: "blob"}})
		}
	}
	return nil
}
