package main

import "bottle/pkg/dlp"

// part replaces a rule's expression.
type part struct {
	regex    string
	keywords []string // nil: the rule's
	entropy  float64  // 0: the rule's
	near     int      // how far from the secret its keyword may stand, where it is no part of it
}

// overrides mend expressions: those that take a key in any case though its
// format has one, those of two kinds, and those that end nowhere.
var overrides = map[string][]part{
	"airtable-personnal-access-token": {{regex: `\b(pat[A-Za-z0-9]{14}\.[a-f0-9]{64})\b`, keywords: []string{"pat"}}},
	"atlassian-api-token": {
		{regex: `(?i)` + lead + `(?:(?-i:ATLASSIAN|[Aa]tlassian)|(?-i:CONFLUENCE|[Cc]onfluence)|(?-i:JIRA|[Jj]ira))` + gap + assign +
			`([a-z0-9]{20}[a-f0-9]{4})` + end, keywords: []string{"atlassian", "confluence", "jira"}},
		{regex: `\b(ATATT3[A-Za-z0-9_\-=]{186})` + end, keywords: []string{"atatt3"}},
	},
	"clojars-api-token":          {{regex: `CLOJARS_[a-z0-9]{60}`}},
	"digitalocean-refresh-token": {{regex: `\b(dor_v1_[a-f0-9]{64})` + end}},
	"generic-api-key": {{regex: `(?i)` + lead + `(?:access|auth|(?-i:[Aa]pi|API)|credential|creds|key|passw(?:or)?d|secret|token)` + gap + assign +
		`([\w.=-]{10,150}|[a-z0-9][a-z0-9+/]{11,300}={0,3})` + end}},
	"facebook-access-token":   {{regex: `\b(\d{15,16}(\||%)[0-9A-Za-z\-_]{27,40})` + wordEnd, near: 256}},
	"grafana-api-key":         {{regex: `\b(eyJrIjoi[A-Za-z0-9]{70,400}={0,3})` + end}},
	"grafana-cloud-api-token": {{regex: `\b(glc_[A-Za-z0-9+/]{32,400}={0,3})` + end}},
	"grafana-service-account-token": {
		{regex: `\b(glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8})` + end}},
	"npm-access-token":     {{regex: `\b(npm_[A-Za-z0-9]{36})` + end}},
	"planetscale-password": {{regex: `\b(pscale_pw_[\w=\.-]{32,64})` + end}},
	// The end of a private key is of no interest, so long as key material follows.
	"private-key": {{regex: `-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----` +
		`(?:\\[nrt]|[^A-Za-z0-9]|(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID):[^\n\\]*)*[A-Za-z0-9+/]{40}`,
		keywords: []string{"-----begin"}}},
	"sidekiq-sensitive-url":      {{regex: `(?i)\bhttps?://([a-f0-9]{8}:[a-f0-9]{8})@(?:gems\.contribsys\.com|enterprise\.contribsys\.com)\b`}},
	"slack-app-token":            {{regex: `xapp-\d-[A-Z0-9]{6,32}-\d{6,32}-[a-z0-9]{16,128}`}},
	"slack-config-access-token":  {{regex: `xoxe.xox[bp]-\d-[A-Za-z0-9]{163,166}`}},
	"slack-config-refresh-token": {{regex: `xoxe-\d-[A-Za-z0-9]{146}`}},
	// A bare 40 characters of hex are a git object's name; the service must be named.
	"sourcegraph-access-token": {
		{regex: `\b(sgp_(?:[a-fA-F0-9]{16}|local)_[a-fA-F0-9]{40}|sgp_[a-fA-F0-9]{40})` + end, keywords: []string{"sgp_"}},
		{regex: `(?i)` + lead + `(?:sourcegraph)` + gap + assign + `([a-f0-9]{40})` + end, keywords: []string{"sourcegraph"}},
	},
	"twilio-api-key": {{regex: `\bSK[0-9a-fA-F]{32}\b`, entropy: 3}},
}

// classes of rules whose shape does not tell.
var classes = map[string]dlp.Class{
	"curl-auth-header":       dlp.Generic,
	"curl-auth-user":         dlp.Generic,
	"facebook-access-token":  dlp.Service,
	"freemius-secret-key":    dlp.Service,
	"generic-api-key":        dlp.Generic,
	"hashicorp-tf-password":  dlp.Generic,
	"kubernetes-secret-yaml": dlp.Service,
	"nuget-config-password":  dlp.Service,
	// Not secret, and documented to be so.
	"flutterwave-public-key": dlp.Service,
}

// names are no secrets, though they end in a number, or in the date of a version of
// an API, or hold that of a key's length.
var names = dlp.Allow{Regexes: []string{
	`^[a-z]{2,}[A-Z]{1,4}[0-9]{1,4}(?:[A-Z][a-z]{2,})+$`,
	`^[a-z]{2,}(?:-[a-z]{2,})*-20[0-9]{2}-[01][0-9]-[0-3][0-9]$`,
	`^[A-Za-z]?[a-z]{2,}(?:[A-Z][a-z]{2,}|[_.-][A-Za-z][a-z]{2,})*[0-9]{0,5}$`,
}}

// methods of what is called s may be as long as a token of Vault's, with a number
// in their name: s.ReadUint16LengthPrefixed.
var methods = dlp.Allow{Regexes: []string{`^s\.\w*[A-Z][a-z]{7}`}}

// keys that are a UUID are an entry's, unless they are said to be secret; a
// module named api has a checksum in go.sum; a WebSocket's key is a nonce.
var keys = dlp.Allow{Target: "match", Regexes: []string{
	`(?i)^sec-websocket-key['"]?[:=,]\s*['"]?[a-z0-9+/]{22}==`,
	`v[0-9][\w.+-]*(?:/go\.mod)? h1:`,
	`(?i)^(?:[\w.]*(?:cache|idempotency|object|row|item|group|partition|primary|sort)[_.-]?)?key[\s'"]{0,3}[=:>,|]+[\s'"=\x60]{0,5}` +
		`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`,
}}

// sessions are tokens that a host gave to whoever asked it. They may go back
// to it in a credential header or a cookie.
var sessions = []string{"jwt", "gitlab-session-cookie", "openshift-user-token", "vault-batch-token"}

// weak are formats of which base64 of anything is full, given enough of it:
// within a long run of base64 they say nothing.
var weak = []string{"alibaba-access-key-id", "artifactory-api-key", "artifactory-reference-token", "aws-access-token",
	"clickhouse-cloud-api-secret-key", "easypost-api-token", "easypost-test-api-token", "facebook-page-access-token",
	"square-access-token", "twilio-api-key"}
