package policy

import (
	"slices"
	"time"
)

// Covers names the entries by which all that a grant would allow is allowed
// already, in the way that the grant would, and for as long: "route 2", "grant
// ID". It returns nothing where any of it is not. Each path with each method is
// looked at on its own, since entries are.
func (p *Policy) Covers(g *Grant, now time.Time) []string {
	var rules []string
	for _, path := range orAll(g.Paths) {
		for _, method := range orAll(g.Methods) {
			rule := p.covering(g, path, method, now)
			if rule == "" {
				return nil
			}
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

// orAll stands one empty word in for an empty list, which means all.
func orAll(words []string) []string {
	if len(words) == 0 {
		return []string{""}
	}
	return words
}

func (p *Policy) covering(g *Grant, path, method string, now time.Time) string {
	for i := range p.Routes {
		if r := &p.Routes[i]; g.Opens() && r.allAs(&g.Route, path, method) {
			return routeName(i)
		}
	}
	for i := range p.Grants {
		o := &p.Grants[i]
		lasts := o.Expires.IsZero() || !g.Expires.IsZero() && !o.Expires.Before(g.Expires)
		if o.ID != g.ID && o.Rule == g.Rule && o.Scanner == g.Scanner && o.Uses == 0 && lasts && o.Live(now) && o.allAs(&g.Route, path, method) {
			return "grant " + o.ID
		}
	}
	return ""
}

// allAs says whether the entry allows a path and a method of another one in the
// same way; an empty word stands for all of them.
func (r *Route) allAs(o *Route, path, method string) bool {
	switch {
	case !r.origin(o.Scheme, o.Host, o.Port), o.Auth.Set() && r.Auth != o.Auth, o.Private && !r.Private:
		return false
	case len(r.Paths) > 0 && (path == "" || !r.covers(path)):
		return false
	}
	return method == "" && len(r.Methods) == 0 || method != "" && r.takes(method)
}

// Holds says whether a prefix lies below one of the entry's; each does where the
// entry has none.
func (r *Route) Holds(prefix string) bool { return len(r.Paths) == 0 || r.covers(prefix) }

// HostWay fills in how the host's routes handle requests, for a grant that is made
// for it: the credential of the first route that has one, private where any is,
// foreign credentials refused where any refuses them, and the model's API, whose
// requests are looked into. What the scanner lets through is not taken over.
func (p *Policy) HostWay(r *Route) {
	if r.Model == "" {
		r.Model = ModelAt(r)
	}
	for i := range p.Routes {
		o := &p.Routes[i]
		if !o.origin(r.Scheme, r.Host, r.Port) {
			continue
		}
		if !r.Auth.Set() {
			r.Auth = o.Auth
		}
		if r.Model == "" {
			r.Model = o.Model
		}
		r.Private, r.RefuseForeign = r.Private || o.Private, r.RefuseForeign || o.RefuseForeign
	}
}
