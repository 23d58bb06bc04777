package egress

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp"
	"bottle/pkg/policy"
)

// scan looks through one request on its way out: what stands before its body at
// once, the body as it passes.
type scan struct {
	q     *dlp.Request
	rules dlp.Policy // of the entry
	body  *dlp.Body
	model *policy.ModelCheck // nil: the host is no model's
	calls *calls             // nil: the body is not gRPC's
	// message begins the scan of a gRPC body's next message; nil: it is none.
	message func(*dlp.Conversation) *dlp.Request
	host    string
	most    int64 // bytes of the body that are scanned
	stream  bool  // what comes behind that passes
	size    int64
	passes  bool // the body is beyond the bound, and passes
	ended   bool // q was given back
	budget  budget
	share   int64 // of the budget
	// Exceptions that held when it began, those that are counted among them: a use
	// is taken when one is needed, and once for the request.
	exceptions []policy.InForce
	server     *Server
	looked     int      // findings of q.Passed whose exceptions were looked at
	taken      []string // IDs of grants
}

// blocked is the error for a request that must not leave.
type blocked struct {
	host string
	err  error // *dlp.Finding, *dlp.Refusal or *policy.ModelRefusal
}

func (b *blocked) Error() string { return b.reason() }

// fingerprintKey makes the fingerprints of one run of egress comparable, and
// useless to guess a secret by.
var fingerprintKey = func() []byte {
	key := make([]byte, 32)
	rand.Read(key) // it never fails
	return key
}()

// newScanner makes the scanner of a policy in force: its values are the bottle's
// own secrets.
func newScanner(p *policy.Policy, values map[string]string) (*dlp.Scanner, error) {
	var known []dlp.Known
	add := func(name, value string, hosts []string) {
		if len(value) >= dlp.MinKnown {
			known = append(known, dlp.Known{Name: name, Value: []byte(value), Hosts: hosts})
		}
	}
	given := map[string]bool{}
	// People keep user:password as one value, and agents send them apart.
	apart := func(name, value string, hosts []string) {
		add(name, value, hosts)
		if _, password, ok := strings.Cut(value, ":"); ok {
			add(name, password, hosts)
		}
	}
	for _, g := range p.Given {
		given[g.Credential] = true
		apart(g.Name, values[g.Credential], g.Hosts)
	}
	for name, value := range values {
		if !given[name] {
			apart(name, value, nil)
		}
	}
	slices.SortFunc(known, func(a, b dlp.Known) int { return strings.Compare(a.Name, b.Name) })
	return dlp.New(dlp.Default(), known, dlp.Options{Key: fingerprintKey, MaxDecoded: p.MaxBodyBytes()})
}

// unknownRule names a rule of a policy that the scanner does not have.
func unknownRule(p *policy.Policy) error {
	have := map[string]bool{}
	check := func(list []policy.Exception) error {
		if len(list) > 0 && len(have) == 0 {
			for _, id := range dlp.Default().IDs() {
				have[id] = true
			}
		}
		for _, e := range list {
			if !have[e.Rule] {
				return fmt.Errorf("there is no rule %q", e.Rule)
			}
		}
		return nil
	}
	for i := range p.Routes {
		if err := check(p.Routes[i].Scan.Allow); err != nil {
			return err
		}
	}
	for i := range p.Grants {
		list := p.Grants[i].Scan.Allow
		if g := &p.Grants[i]; !g.Opens() && g.Scanner == "" {
			list = append(slices.Clip(list), policy.Exception{Rule: g.Rule})
		}
		if err := check(list); err != nil {
			return err
		}
	}
	return nil
}

// newScan readies a scan of what goes by an entry, with a share of the memory for
// it; nil: there is none left.
func (s *Server) newScan(r *policy.Route, share int64, begin func(dlp.Policy) *dlp.Request) *scan {
	p := s.policy.Load()
	rules := dlp.Policy{Host: r.Host, Model: r.Model != ""}
	exceptions := p.Exceptions(r, time.Now(), s.uses.isSpent)
	for _, e := range exceptions {
		rules.Allow = append(rules.Allow, dlp.Exception{Rule: e.Rule, Path: e.Path})
	}
	if !s.scans.take(s.ctx, share) {
		return nil
	}
	return &scan{q: begin(rules), rules: rules, host: r.Host, most: p.MaxBodyBytes(), stream: r.Scan.Stream, budget: s.scans, share: share,
		exceptions: exceptions, server: s}
}

const reasonBusy = "more is under way to be scanned than there is memory for: try it again when less is"

// beginScan scans all of a request that is here: its head, and its body where
// that has come whole. The caller ends the scan.
func (c *client) beginScan(k *known, r *policy.Route, target []byte) (*scan, *refusal) {
	messages := c.q.sendsMessages()
	s := c.s.newScan(r, c.q.scanShare(messages), k.scanner.Request)
	if s == nil {
		return nil, refuse(503, reasonBusy)
	}
	if messages {
		at := string(path(target))
		s.message = func(talk *dlp.Conversation) *dlp.Request { return k.scanner.Message(s.rules, at, talk) }
	}
	if r.Model != "" {
		at, query, _ := bytes.Cut(target, []byte("?"))
		s.model = policy.CheckModel(r.Model, c.s.policy.Load().Model, string(at), string(query))
	}
	err := s.head(&c.q, target, &c.fields, c.lastHead)
	here := c.in.buffered()
	whole := !c.q.chunked && c.q.length <= int64(len(here))
	switch {
	case err != nil:
	case c.q.hasBody():
		if err = s.begin(&c.q); err == nil && whole {
			err = s.next(here[:c.q.length], true)
		}
	case s.model != nil:
		err = s.model.Close()
	}
	if err == nil {
		err = s.excepted()
	}
	if err != nil || whole {
		s.end() // an answer may take long
	}
	if err == nil {
		return s, nil
	}
	return nil, refuseBlocked(&blocked{r.Host, err}, &c.q)
}

// excepted looks whether the exceptions that were needed so far still hold, and
// takes a use of each that is counted and has been needed since. Otherwise what
// it let pass is a finding after all. What was scanned must not go upstream
// before excepted has returned nil.
func (s *scan) excepted() error {
	found := s.q.Passed()
	for i, p := range found {
		g := s.exceptions[p.Exception].Grant
		switch {
		case g == nil:
		case !s.server.holds(g):
			return p.Finding
		case i < s.looked || g.Uses == 0 || slices.Contains(s.taken, g.ID):
		case !s.server.takeException(g):
			return p.Finding
		default:
			s.taken = append(s.taken, g.ID)
		}
	}
	s.looked = len(found)
	return nil
}

// holds says whether a grant is in the policy in force, and has not ended.
func (s *Server) holds(g *policy.Grant) bool {
	p := s.policy.Load()
	return slices.ContainsFunc(p.Grants, func(o policy.Grant) bool { return o.ID == g.ID && o.Rule == g.Rule && o.Live(time.Now()) })
}

// end gives back what the scan held. Nothing more is scanned then, and nothing
// passes that would have to be.
func (s *scan) end() {
	if s == nil || s.ended {
		return
	}
	s.ended = true
	s.q.Close()
	s.q, s.body = nil, nil
	s.budget.release(s.share)
	s.calls.end(s.budget)
}

var errScanEnded = &dlp.Refusal{Reason: dlp.Unreadable, Detail: "more came than was scanned"}

// head scans the target and what of the header goes upstream, behind the last head
// of its connection. The slice behind scratch is used again for each request.
func (s *scan) head(q *request, target []byte, scratch *[]dlp.Field, last *dlp.LastHead) error {
	list := (*scratch)[:0]
	for i := range q.list {
		if f := &q.list[i]; f.kind == kindEnd {
			list = append(list, dlp.Field{Name: f.name, Value: f.value, Credential: policy.CarriesCredential(f.name)})
		}
	}
	*scratch = list
	return last.Head(s.q, target, list)
}

// begin readies the scan of a body by what the header says of it.
func (s *scan) begin(q *request) (err error) {
	var form, encoding []byte
	forms := 0
	for i := range q.list {
		f := &q.list[i]
		switch {
		case f.kind != kindEnd:
		case equalFold(f.name, "content-type"):
			form = f.value
			forms++
		case equalFold(f.name, "content-encoding"):
			encoding = bytes.Join([][]byte{encoding, f.value}, []byte(","))
		}
	}
	encoding = bytes.Trim(encoding, ",")
	switch {
	case forms > 1:
		return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it has two Content-Types"}
	case q.length > s.most && !s.stream:
		return s.tooLarge()
	case s.model != nil && s.message != nil:
		return &policy.ModelRefusal{Reason: "a request to the model must not be gRPC", Form: true}
	case s.model != nil:
		if err = s.model.Head(form, encoding); err != nil {
			return err
		}
	}
	if s.message != nil {
		if len(encoding) > 0 && !equalFold(encoding, identity) { // its servers do not look at it
			return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it has gRPC messages in a Content-Encoding"}
		}
		return s.beginCalls(q)
	}
	s.body, err = s.q.Body(string(form), string(encoding))
	return err
}

func (s *scan) tooLarge() error {
	return &dlp.Refusal{Reason: dlp.TooLarge, Detail: fmt.Sprintf("it has more than %d bytes", s.most)}
}

// next scans a piece of the body, which must not go upstream before next has
// returned nil; last: the body ends with it.
func (s *scan) next(p []byte, last bool) error {
	switch {
	case s.ended:
		return errScanEnded
	case s.passes:
		return nil
	case s.calls != nil:
		return s.nextCalls(p, last)
	}
	s.size += int64(len(p))
	beyond := s.size - s.most
	if beyond > 0 && !s.stream {
		return s.tooLarge()
	}
	if beyond > 0 {
		p = p[:max(0, int64(len(p))-beyond)]
	}
	if _, err := s.body.Write(p); err != nil {
		return err
	}
	if s.model != nil {
		if _, err := s.model.Write(p); err != nil {
			return err
		}
	}
	switch {
	case beyond > 0 && s.model != nil:
		return s.tooLarge() // nobody knows what is behind it
	case beyond > 0:
		s.passes = true
	case last:
		if err := s.body.Close(); err != nil {
			return err
		}
		if s.model != nil {
			return s.model.Close()
		}
	}
	return nil
}

// trailers scans the fields behind a body, lines as they stand on the wire. Its
// error is errMalformed or a *blocked.
func (s *scan) trailers(lines []byte) error {
	if len(lines) <= len("\r\n") {
		return nil
	}
	if s.ended {
		return s.block(errScanEnded)
	}
	var f fields
	if err := f.parse(lines); err != nil {
		return err
	}
	var list []dlp.Field
	for _, x := range f.list {
		list = append(list, dlp.Field{Name: x.name, Value: x.value, Credential: policy.CarriesCredential(x.name)})
	}
	err := s.q.Trailers(list)
	if err == nil {
		err = s.excepted()
	}
	if err != nil {
		return s.block(err)
	}
	return nil
}

func (s *scan) block(err error) error { return &blocked{s.host, err} }

// reason is what the agent reads in the status line.
func (b *blocked) reason() string {
	var finding *dlp.Finding
	if errors.As(b.err, &finding) {
		return fmt.Sprintf("%s was not let out to %s", finding, b.host)
	}
	return fmt.Sprintf("%s (to %s)", b.err, b.host)
}

// explanation is the body of a refusal, as JSON.
type explanation struct {
	Blocked     string `json:"blocked"` // dlp
	Reason      string `json:"reason"`
	Rule        string `json:"rule,omitempty"`
	Where       string `json:"where,omitempty"`
	Via         string `json:"via,omitempty"`
	Host        string `json:"host"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Help        string `json:"help"`
}

func (b *blocked) explain() explanation {
	e := explanation{Blocked: "dlp", Reason: b.reason(), Host: b.host}
	var finding *dlp.Finding
	var refusal *dlp.Refusal
	var asked *policy.ModelRefusal
	switch {
	case errors.As(b.err, &finding) && finding.Rule == dlp.KnownRule:
		e.Rule, e.Where, e.Via, e.Fingerprint = finding.Rule, finding.Where, finding.Via, finding.Fingerprint
		e.Help = "This is a secret of the bottle's own: it may not travel there, and there is no exception. Send the request without it."
	case errors.As(b.err, &finding):
		e.Rule, e.Where, e.Via, e.Fingerprint = finding.Rule, finding.Where, finding.Via, finding.Fingerprint
		e.Help = "Send the request without it. If it is no secret, ask the operator for an exception for this rule, host and path."
	case errors.As(b.err, &refusal):
		e.Help = "Send it in a form that can be scanned: smaller, or in an encoding that is known."
	case errors.As(b.err, &asked) && asked.Form:
		e.Help = "Send it as the model's API is written down: its own path, and a body of JSON in UTF-8, without an encoding."
	default:
		e.Help = "Do it from here instead: what this bottle may reach, its tools can ask for themselves."
	}
	return e
}

// refuseBlocked is the answer to a request that must not leave.
func refuseBlocked(b *blocked, q *request) *refusal {
	e := b.explain()
	r := &refusal{status: 403, reason: e.Reason, by: "dlp", finding: &e}
	if acceptsJSON(q) {
		r.form = "application/json"
		r.body, _ = json.Marshal(e) // texts always can
		r.body = append(r.body, '\n')
	} else {
		r.body = []byte("egress: " + printable(e.Reason) + "\n" + e.Help + "\n")
	}
	return r
}

func acceptsJSON(q *request) bool {
	return slices.ContainsFunc(q.list, func(f field) bool {
		return equalFold(f.name, "accept") && bytes.Contains(bytes.ToLower(f.value), []byte("json"))
	})
}

// pathHidden stands in an event for a path that holds a secret.
const pathHidden = "/(not shown: it holds a secret)"

// note takes a finding into an event, which never holds the secret.
func (e *explanation) note(ev *bottle.Event) {
	ev.Finding, ev.Where, ev.Fingerprint = e.Rule, e.Where, e.Fingerprint
	if strings.HasPrefix(e.Where, "url.path") {
		ev.Path = pathHidden
	}
}
