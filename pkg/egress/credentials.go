package egress

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"bottle/pkg/policy"
)

// admit judges the credentials that the agent sent along with a request that an
// entry allows, before it is scanned. Where the entry injects one, the agent's
// are dropped: agents send placeholders. Where foreign ones are refused, only
// what the agent was given for this host passes.
func (k *known) admit(r *policy.Route, q *request, target []byte) *refusal {
	switch {
	case r.Auth.Set():
		if _, here := k.lines[r.Auth]; !here {
			return lacks(r.Host)
		}
		dropCredentials(q, r.Auth.Target())
		return refuseQuery(k, r.Host, target, false)
	case r.RefuseForeign:
		return k.refuseForeign(r.Host, q, target)
	}
	return nil
}

// inject readies the header that carries an entry's credential. It comes after
// the scan: what is injected is no secret that leaves.
func (k *known) inject(r *policy.Route, q *request) {
	if r.Auth.Set() {
		q.injected = k.lines[r.Auth]
	}
}

// lacks is the answer of a sidecar that was restarted. It does not name the
// credential: the operator's names are not the agent's business.
func lacks(host string) *refusal {
	return refuse(503, fmt.Sprintf("the credential for %s is not here (egress was restarted): the operator must run bottle-start --resume", host))
}

// dropCredentials keeps what says who the agent is from going upstream, and the
// header that is injected, whatever its case and number.
func dropCredentials(q *request, injected string) {
	for i := range q.list {
		f := &q.list[i]
		if f.kind != kindEnd {
			continue
		}
		if sameName(f.name, injected) || policy.CarriesCredential(f.name) {
			f.kind = kindHop
		}
	}
}

// unpacked asks for an answer in which an echo of a credential can be found.
func unpacked(q *request) {
	for i := range q.list {
		if q.list[i].kind == kindEnd && equalFold(q.list[i].name, "accept-encoding") {
			q.list[i].kind = kindHop
		}
	}
	q.unpacked = true
}

// sameName compares header names as gateways do, which take _ for -.
func sameName(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if c = lower(c); c == '_' {
			c = '-'
		}
		w := want[i]
		if w == '_' {
			w = '-'
		}
		if c != w {
			return false
		}
	}
	return true
}

// refuseForeign refuses what says that the agent is somebody else's.
func (k *known) refuseForeign(host string, q *request, target []byte) *refusal {
	for _, f := range q.list {
		if len(f.value) == 0 || !policy.CarriesCredential(f.name) || k.may(host, string(f.value)) {
			continue
		}
		if k.lacking[host] {
			return lacks(host)
		}
		return refuse(403, fmt.Sprintf("the bottle was not given this credential (%s) for %s", strings.ToLower(string(f.name)), host))
	}
	return refuseQuery(k, host, target, true)
}

// refuseQuery refuses a credential in the query. It is not dropped: a target
// goes upstream as it was judged.
func refuseQuery(k *known, host string, target []byte, orGiven bool) *refusal {
	_, query, _ := bytes.Cut(target, []byte("?"))
	if len(query) == 0 {
		return nil
	}
	name := policy.QueryCredential(string(query))
	if name == "" {
		return nil
	}
	if orGiven && k.queryGiven(host, string(query)) {
		return nil
	}
	return refuse(403, fmt.Sprintf("the query has a credential (%s) that the bottle was not given for %s", name, host))
}

// queryGiven says whether each credential in a query was given for the host.
func (k *known) queryGiven(host, query string) bool {
	values, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	for name, list := range values {
		if policy.QueryCredential(url.QueryEscape(name)) == "" {
			continue
		}
		for _, v := range list {
			if !k.may(host, v) {
				return false
			}
		}
	}
	return true
}
