package policy

import "strings"

// CarriesCredential says whether a request header, by its name in any case,
// says who somebody is to an upstream. Names that nobody has listed are known
// by their last word.
func CarriesCredential(name []byte) bool {
	const longest = 64
	if len(name) > longest {
		name = name[len(name)-longest:]
	}
	var low [longest]byte
	for i, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-' // gateways take the one for the other
		}
		low[i] = c
	}
	s := low[:len(name)]
	switch string(s) {
	case "authorization", "cookie", "cookie2":
		return true
	case "idempotency-key", "x-idempotency-key", "sec-websocket-key", "surrogate-key", "x-csrf-token", "x-xsrf-token", "csrf-token":
		return false
	}
	last := s
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '-' {
			last = s[i+1:]
			break
		}
	}
	switch string(last) {
	case "key", "apikey", "token", "accesstoken", "authtoken", "auth", "authorization", "secret", "password", "passwd", "credential",
		"credentials", "jwt", "signature", "cookie":
		return true
	}
	return false
}

// credentialQueries are the query parameters by which upstreams know who asks.
var credentialQueries = map[string]bool{
	"access_token": true, "api_key": true, "apikey": true, "api-key": true, "auth_token": true, "authtoken": true, "private_token": true,
	"job_token": true, "oauth_token": true, "client_secret": true, "key": true, "token": true, "auth": true, "jwt": true, "signature": true,
	"sig": true, "x-api-key": true, "x-amz-credential": true, "x-amz-security-token": true, "x-amz-signature": true, "x-goog-credential": true,
	"x-goog-signature": true, "password": true, "authorization": true,
}

// QueryCredential returns the first query parameter that says who somebody is to
// an upstream, or "". query is raw, without the question mark.
func QueryCredential(query string) string {
	if query == "" {
		return ""
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if strings.ContainsRune(name, '%') {
			if plain, _, fault := decode(name, false); fault == "" {
				name = plain
			}
		}
		if name = strings.ToLower(name); credentialQueries[name] {
			return name
		}
	}
	return ""
}
