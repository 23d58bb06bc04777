package egress

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"bottle/pkg/dlp"
	"bottle/pkg/policy"
)

// shortSecret is the length in bytes below which a value is not looked for in
// answers: it would be found everywhere.
const shortSecret = 12

// known is a policy joined with the values that the host handed over. It does
// not change; a new policy and new values make a new one.
type known struct {
	lines   map[policy.Auth][]byte // the header line that carries a credential
	given   map[string][]string    // host → values that the agent may send there
	lacking map[string]bool        // hosts where it may send a value that is not here
	echoes  map[string][][]byte    // host → what is masked in its answers
	came    map[string]time.Time   // when values came in, by name
	scanner *dlp.Scanner           // for what leaves
}

// join makes a known of a policy and values by name.
func join(p *policy.Policy, values map[string]string) *known {
	k := &known{lines: map[policy.Auth][]byte{}, given: map[string][]string{}, lacking: map[string]bool{}, echoes: map[string][][]byte{}}
	for i := range p.Routes {
		k.add(&p.Routes[i], values)
	}
	for i := range p.Grants {
		k.add(&p.Grants[i].Route, values)
	}
	for _, g := range p.Given {
		for _, host := range g.Hosts {
			if v := values[g.Credential]; v != "" {
				k.given[host] = append(k.given[host], v)
			} else {
				k.lacking[host] = true
			}
		}
	}
	var err error
	if k.scanner, err = newScanner(p, values); err != nil {
		panic(err) // values that are too short are left out
	}
	return k
}

// add takes in what an entry injects.
func (k *known) add(r *policy.Route, values map[string]string) {
	value := values[r.Auth.Credential]
	if !r.Auth.Set() || value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return
	}
	sent := value
	if strings.EqualFold(r.Auth.Scheme, "basic") && strings.Contains(value, ":") {
		sent = base64.StdEncoding.EncodeToString([]byte(value)) // user:password, which is how people keep it
	}
	line := "Authorization: " + r.Auth.Scheme + " " + sent + "\r\n"
	if r.Auth.Header != "" {
		line = r.Auth.Header + ": " + value + "\r\n"
	}
	k.lines[r.Auth] = []byte(line)
	spellings := []string{value, sent, url.QueryEscape(value), url.PathEscape(value), jsonText(value), base64.StdEncoding.EncodeToString([]byte(value))}
	if _, password, ok := strings.Cut(value, ":"); ok && sent != value {
		spellings = append(spellings, password)
	}
	for _, s := range spellings {
		isThere := func(b []byte) bool { return string(b) == s }
		if len(s) >= shortSecret && !slices.ContainsFunc(k.echoes[r.Host], isThere) {
			k.echoes[r.Host] = append(k.echoes[r.Host], []byte(s))
		}
	}
	// The longest first: where one holds another, all of it is masked.
	slices.SortFunc(k.echoes[r.Host], func(a, b []byte) int { return len(b) - len(a) })
}

// jsonText is how a value stands in a JSON document.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return strings.Trim(string(b), `"`)
}

// may says whether the agent was given a credential header's value for a host:
// the value itself, behind a scheme, or as a part of Basic's pair.
func (k *known) may(host, value string) bool {
	given := k.given[host]
	if slices.Contains(given, value) {
		return true
	}
	scheme, rest, ok := strings.Cut(value, " ")
	if !ok {
		return false
	}
	rest = strings.TrimSpace(rest)
	if slices.Contains(given, rest) {
		return true
	}
	if !strings.EqualFold(scheme, "basic") {
		return false
	}
	pair, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return false
	}
	user, password, _ := strings.Cut(string(pair), ":")
	// A token stands for the password, or for the user where there is no password
	// to speak of.
	return slices.Contains(given, string(pair)) || slices.Contains(given, password) ||
		(password == "" || password == "x-oauth-basic") && slices.Contains(given, user)
}
