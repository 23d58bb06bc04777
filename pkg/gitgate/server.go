package gitgate

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
)

// Times of one request. A client that sends nothing for a while is gone.
const (
	pushTime  = 30 * time.Minute
	fetchTime = 30 * time.Minute
	quietTime = time.Minute
	maxAsk    = 64 << 20 // bytes of a request for objects, unpacked
)

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// ServeHTTP answers git, and nobody else.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	begun := time.Now()
	path, _ := strings.CutPrefix(r.URL.EscapedPath(), "/")
	name, what, _ := strings.Cut(path, ".git/")
	repo := st.repos[name]
	if repo == nil || r.URL.EscapedPath() != r.URL.Path {
		s.conf.Record(bottle.Event{Kind: "request", Verdict: "deny", Reason: "no such repository", Method: r.Method, Path: r.URL.Path, Status: http.StatusForbidden})
		http.Error(w, "git-gate: no such repository: the remotes here are those of the bottle's manifest", http.StatusForbidden)
		return
	}
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	switch service := r.URL.RawQuery; {
	case r.Method == http.MethodGet && what == "info/refs" && service == "service="+uploadPack:
		s.offer(w, r, st, repo, begun)
	case r.Method == http.MethodGet && what == "info/refs" && service == "service="+receivePack:
		s.offerPush(w, r, st, repo)
	case r.Method == http.MethodPost && what == uploadPack && service == "" && r.Header.Get("Content-Type") == "application/x-git-upload-pack-request":
		s.upload(w, r, repo, begun)
	case r.Method == http.MethodPost && what == receivePack && service == "" && r.Header.Get("Content-Type") == "application/x-git-receive-pack-request":
		s.receive(w, r, st, repo, begun)
	default:
		s.conf.Record(bottle.Event{Kind: "request", Verdict: "deny", Reason: "not a request of git's", Method: r.Method, Path: r.URL.Path, Status: http.StatusForbidden})
		http.Error(w, "git-gate: only git's own requests are answered, by the smart protocol", http.StatusForbidden)
	}
}

// protocol is what a client says of the protocol's version, as git itself says
// it and nothing else.
var protocol = regexp.MustCompile(`^version=[012]$`)

func (r *repo) speaking(q *http.Request) git {
	if v := q.Header.Get("Git-Protocol"); protocol.MatchString(v) {
		return r.git.with("GIT_PROTOCOL=" + v)
	}
	return r.git
}

// offer answers what there is to fetch, as upstream has it now.
func (s *Service) offer(w http.ResponseWriter, r *http.Request, st *state, repo *repo, begun time.Time) {
	ctx, cancel := context.WithTimeout(r.Context(), fetchTime)
	defer cancel()
	if _, err := s.refresh(ctx, st, repo, uploadPack); err != nil {
		s.conf.Record(bottle.Event{Kind: "refresh", Verdict: "error", Path: repo.name, Detail: err.Error(), Millis: since(begun)})
		if refs, listed := repo.refs(ctx); listed != nil || len(refs) == 0 {
			http.Error(w, "git-gate: "+inert(err.Error()), http.StatusBadGateway)
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	if r.Header.Get("Git-Protocol") != "version=2" {
		io.WriteString(w, "001e# service=git-upload-pack\n0000")
	}
	if err := repo.speaking(r).run(ctx, nil, w, "upload-pack", "--strict", "--stateless-rpc", "--http-backend-info-refs", "--", repo.dir); err != nil {
		s.conf.Record(bottle.Event{Kind: "fetch", Verdict: "error", Path: repo.name, Detail: err.Error(), Millis: since(begun)})
	}
}

// upload sends objects.
func (s *Service) upload(w http.ResponseWriter, r *http.Request, repo *repo, begun time.Time) {
	ctx, cancel := context.WithTimeout(r.Context(), fetchTime)
	defer cancel()
	if !enter(ctx, s.fetches) {
		return
	}
	defer func() { <-s.fetches }()
	body, err := unpacked(r)
	if err != nil {
		http.Error(w, "git-gate: "+err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	out := &telling{w: w, flush: http.NewResponseController(w).Flush}
	if repo.stale.Load() {
		out.note = "git-gate: the upstream could not be asked: what comes is as of the last time it could\n"
	}
	err = repo.speaking(r).run(ctx, &quiet{w: w, r: body, time: s.conf.Quiet}, out, "upload-pack", "--strict", "--stateless-rpc", "--", repo.dir)
	e := bottle.Event{Kind: "fetch", Verdict: bottle.Allowed, Path: repo.name, Recv: out.n, Millis: since(begun)}
	if err != nil && exitCode(err) != 128 { // that is what a client that only asked, or left, ends with
		e.Verdict, e.Detail = "error", err.Error()
	}
	if out.packs || e.Verdict == "error" {
		s.conf.Record(e)
	}
}

// unpacked is a request's body, which git sends compressed where it is large.
func unpacked(r *http.Request) (io.Reader, error) {
	var body io.Reader = r.Body
	switch r.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		body = z
	default:
		return nil, errors.New("the Content-Encoding is not one of git's")
	}
	return io.LimitReader(body, maxAsk), nil
}

// quiet gives up on a client that sends nothing, once and for all.
type quiet struct {
	w    http.ResponseWriter
	r    io.Reader
	time time.Duration
	err  error
}

func (q *quiet) Read(p []byte) (n int, err error) {
	if q.err == nil {
		http.NewResponseController(q.w).SetReadDeadline(time.Now().Add(q.time))
		n, q.err = q.r.Read(p)
	}
	return n, q.err
}

// enter waits for a place; false: the client has left.
func enter(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// offerPush answers what there is to push to.
func (s *Service) offerPush(w http.ResponseWriter, r *http.Request, st *state, repo *repo) {
	ids, err := s.refresh(r.Context(), st, repo, receivePack)
	if err != nil {
		s.conf.Record(bottle.Event{Kind: "refresh", Verdict: "error", Path: repo.name, Detail: err.Error()})
		http.Error(w, "git-gate: "+inert(err.Error()), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
	var b strings.Builder
	line := func(s string) { fmt.Fprintf(&b, "%04x%s", len(s)+4, s) }
	line("# service=git-receive-pack\n")
	b.WriteString("0000")
	if len(ids) == 0 {
		ids = map[string]string{"capabilities^{}": strings.Repeat("0", idLength(repo.format))}
	}
	for i, name := range slices.Sorted(maps.Keys(ids)) {
		caps := ""
		if i == 0 {
			caps = "\x00" + capabilities(repo.format)
		}
		line(ids[name] + " " + name + caps + "\n")
	}
	io.WriteString(w, b.String()+"0000")
}

// receive takes a push.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, st *state, repo *repo, begun time.Time) {
	ctx, cancel := context.WithTimeout(r.Context(), pushTime)
	defer cancel()
	if !enter(ctx, s.pushes) {
		return
	}
	defer func() { <-s.pushes }()
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "gzip" {
		http.Error(w, "git-gate: the Content-Encoding is not one of git's", http.StatusUnsupportedMediaType)
		return
	}
	var raw io.Reader = &quiet{w: w, r: r.Body, time: s.conf.Quiet}
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(raw)
		if err != nil {
			http.Error(w, "git-gate: "+err.Error(), http.StatusBadRequest)
			return
		}
		raw = z
	}
	body := bufio.NewReaderSize(raw, 1<<16)
	q, err := readRequest(body, repo.format)
	if err != nil {
		s.conf.Record(bottle.Event{Kind: "push", Verdict: "deny", Path: repo.name, Reason: inert(err.Error()), Status: http.StatusBadRequest})
		http.Error(w, "git-gate: "+inert(err.Error()), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
	if len(q.commands) == 0 {
		return // it only asked whether it may speak
	}
	control := http.NewResponseController(w)
	control.EnableFullDuplex()
	p := &push{request: q, state: st, repo: repo, remote: st.conf.Remotes[repo.name],
		answer: &answer{w: w, flush: func() { control.Flush() }, side: q.side}}
	err = p.run(ctx, body)
	io.CopyN(io.Discard, body, st.conf.Push.MaxSize) // a client hears an answer only when it has sent all
	s.conf.Record(p.event(err, begun))
}

// event is what is recorded of a push.
func (p *push) event(err error, begun time.Time) bottle.Event {
	e := bottle.Event{Kind: "push", Verdict: bottle.Allowed, Path: p.repo.name, Objects: int64(p.objects), Sent: p.size, Millis: since(begun)}
	var refs []string
	for _, c := range p.commands[:min(len(p.commands), maxTold)] {
		text := fmt.Sprintf("%s %s..%s", inert(c.Ref), short(c.Old), short(c.New))
		if len(p.found) > 0 && len(p.scanner.text("", []byte(c.Ref))) > 0 {
			text = "(a name with a secret)"
		}
		if c.reason != "" {
			text += " (" + inert(c.reason) + ")"
		}
		refs = append(refs, text)
	}
	e.Refs = strings.Join(refs, ", ")
	for i := range p.found[:min(len(p.found), maxTold)] {
		e.Detail += p.found[i].describe() + "; "
	}
	e.Detail = strings.TrimSuffix(e.Detail, "; ")
	switch {
	case p.held != "":
		e.Verdict, e.Reason = "held", p.held
	case err != nil:
		e.Verdict, e.Reason = "deny", inert(err.Error())
	}
	return e
}

func since(begun time.Time) float64 {
	return float64(time.Since(begun).Microseconds()) / 1000
}
