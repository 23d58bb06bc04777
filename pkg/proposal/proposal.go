// Package proposal says what the kinds of proposals are: what each must hold,
// how it is shown, and what its approval changes, as a value. It is pure: it
// reads no file and carries nothing out; pkg/decision does, and sidecars make
// proposals with it. A new kind is one file here and one row in kinds.
package proposal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// Bounds of what a bottle may ask.
const (
	MaxSize          = 64 << 10 // bytes of a proposal's file
	MaxJustification = 4 << 10  // bytes
	MaxPending       = 20       // that a sidecar lets wait for the agent
	MaxDuration      = 30 * 24 * time.Hour
	maxPaths         = 50
)

// Sidecars that write proposals.
const (
	Egress    = "egress"
	Supervise = "supervise"
	GitGate   = "git-gate"
)

// kind is what a kind of proposals does differently.
type kind interface {
	// source is the sidecar that writes such a proposal; no other may.
	source(p *bottle.Proposal) string
	// check says what is wrong with the payload and puts one in its one form in its
	// place; what it was given stays as it is.
	check(p *bottle.Proposal) error
	// summary is one line: the payload, without the kind.
	summary(p *bottle.Proposal) string
	// approve adds to c what approval changes.
	approve(c *Change, p *bottle.Proposal, in Context) error
	// reject adds to c what rejection changes.
	reject(c *Change, p *bottle.Proposal)
}

var kinds = map[bottle.Kind]kind{
	bottle.EgressBlock:     egressBlock{},
	bottle.EgressDenied:    egressDenied{},
	bottle.DLPBlock:        dlpBlock{},
	bottle.CapabilityBlock: capabilityBlock{},
	bottle.PipelockBlock:   pipelockBlock{},
	bottle.GitPush:         gitPush{},
}

// Rules are what the manifest lets an agent ask for.
type Rules struct {
	Credentials []Credential `json:"credentials"`
	// Pipelock says that there is one, on whose list a host may be asked for.
	Pipelock bool `json:"pipelock,omitempty"`
}

// Credential is one that an agent may ask for by its name, for these hosts.
type Credential struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"` // canonical
	// Auth is how it is injected; sidecars do not need it, and have it empty.
	Auth policy.Auth `json:"-"`
}

// For returns the credential of that name where the host is one of its own. The
// error names those that there are for the host.
func (r Rules) For(name, host string) (Credential, error) {
	var names []string
	for _, c := range r.Credentials {
		if !slices.Contains(c.Hosts, host) {
			continue
		}
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return Credential{}, fmt.Errorf("the manifest declares no credential for %s", host)
	}
	return Credential{}, fmt.Errorf("the manifest declares no such credential for %s: there is %s", host, strings.Join(names, ", "))
}

// Make brings a proposal into its one form and gives it its ID. now is when it
// is made. What the rules do not let an agent ask for is an error, told in words
// that are for the agent.
func Make(p bottle.Proposal, rules Rules, now time.Time) (bottle.Proposal, error) {
	k, known := kinds[p.Kind]
	if !known {
		return p, fmt.Errorf("%q is no kind of proposal", p.Kind)
	}
	p.Source, p.CreatedAt, p.Slug, p.Agent = k.source(&p), now.UTC().Truncate(time.Millisecond), "", ""
	if err := check(k, &p); err != nil {
		return p, err
	}
	if p.Egress != nil && p.Egress.Credential != "" {
		if _, err := rules.For(p.Egress.Credential, p.Egress.Host); err != nil {
			return p, err
		}
	}
	if p.Pipelock != nil && !rules.Pipelock {
		return p, errNoPipelock
	}
	return named(p)
}

// named gives a proposal its ID, if it is not too large.
func named(p bottle.Proposal) (bottle.Proposal, error) {
	p.ID = ID(p)
	if n := len(Encode(p)); n > MaxSize {
		return p, fmt.Errorf("the proposal has %d bytes, and %d are taken", n, MaxSize)
	}
	return p, nil
}

// check says what is wrong with a proposal of this kind and canonicalises it.
func check(k kind, p *bottle.Proposal) error {
	switch {
	case len(p.Justification) > MaxJustification:
		return fmt.Errorf("the justification has more than %d bytes", MaxJustification)
	case !utf8.ValidString(p.Justification):
		return errors.New("the justification is not UTF-8")
	}
	payloads := 0
	for _, there := range []bool{p.Egress != nil, p.Exception != nil, p.Capability != nil, p.Push != nil, p.Pipelock != nil} {
		if there {
			payloads++
		}
	}
	if payloads != 1 {
		return fmt.Errorf("a proposal of the kind %s has one payload, its own", p.Kind)
	}
	return k.check(p)
}

// ID is the kind, a dash, and 16 characters of a-z2-7: the beginning of the
// SHA-256 of the document with ID, Slug and Agent empty.
func ID(p bottle.Proposal) string {
	p.ID, p.Slug, p.Agent = "", "", ""
	sum := sha256.Sum256(Encode(p))
	return string(p.Kind) + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// CheckID says what is wrong with the ID of a proposal.
func CheckID(id string) error {
	i := strings.LastIndexByte(id, '-')
	if i >= 0 && len(id)-i == 17 && strings.Trim(id[i+1:], "abcdefghijklmnopqrstuvwxyz234567") == "" {
		if _, known := kinds[bottle.Kind(id[:i])]; known {
			return nil
		}
	}
	return fmt.Errorf("%q is not the ID of a proposal", id)
}

// Same says whether two proposals ask for the same: then the second joins the
// first, and is not queued. Why and when is left out.
func Same(a, b bottle.Proposal) bool {
	for _, p := range []*bottle.Proposal{&a, &b} {
		p.CreatedAt, p.Justification = time.Time{}, ""
	}
	return ID(a) == ID(b)
}

// Encode writes a proposal as its file holds it.
func Encode(p bottle.Proposal) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil // its fields are texts, numbers, and times that RFC 3339 has
	}
	return out.Bytes()
}

// Parse reads a proposal that source wrote under the name id. It takes only what
// Make could have made: in its one form, with the hash that its ID says, and
// without a field that this version could not show.
func Parse(data []byte, source, id string) (bottle.Proposal, error) {
	var p bottle.Proposal
	if len(data) > MaxSize {
		return p, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, errors.New("it is not a proposal")
	}
	k, known := kinds[p.Kind]
	switch {
	case !known:
		return p, errors.New("its kind is unknown")
	case p.Source != source || k.source(&p) != source:
		return p, fmt.Errorf("%s writes no such proposals", source)
	case p.Slug != "" || p.Agent != "":
		return p, errors.New("it says whose it is")
	case p.ID != id || ID(p) != id:
		return p, errors.New("it does not have the hash that its name says")
	case p.CreatedAt != p.CreatedAt.UTC().Truncate(time.Millisecond):
		return p, errors.New("its time is not in UTC and milliseconds")
	}
	asked := p
	if err := check(k, &p); err != nil {
		return p, err
	}
	if !reflect.DeepEqual(p, asked) && ID(p) != id { // the hash costs more, and is the same where nothing changed
		return p, errors.New("it is not in its one form")
	}
	return p, nil
}

// Summary is a proposal in one line. An agent wrote some of its words: show it
// through cli.Inert.
func Summary(p bottle.Proposal) string {
	k, known := kinds[p.Kind]
	if !known {
		return "?"
	}
	return k.summary(&p)
}
