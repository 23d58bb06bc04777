package pipelock

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// Port is where pipelock listens for egress.
const Port = 8888

// Files in the directory that pipelock reads, which is at Dir in its container.
const (
	Dir       = "/in"
	File      = "pipelock.yaml"
	Candidate = "candidate.yaml" // what is to be checked
	CertFile  = "ca.crt"         // its own CA, PEM
	KeyFile   = "ca.key"         // its key, PEM, "EC PRIVATE KEY"
	RootsFile = "roots.pem"      // whom upstreams must be vouched for by
)

// Previous, beside that directory, is the file that pipelock ran with before a
// change under way. Whoever finds it, and holds the policy's lock, finds that its
// program was killed: nobody knows which file pipelock goes by, or whether it runs.
// One that starts goes by the one that is there.
const Previous = "previous.yaml"

// Options are what a file says besides a policy's hosts.
type Options struct {
	Passthrough []string     // canonical hosts whose TLS it does not open
	Private     []netip.Addr // private addresses that names may lead to
	Headers     []string     // into which egress injects, lower case: they are not scanned
	MaxBody     int64        // bytes of a body that are scanned
}

// The file, as far as it is ours.
type file struct {
	Version int      `yaml:"version"`
	Mode    string   `yaml:"mode"`
	Enforce bool     `yaml:"enforce"`
	Allow   []string `yaml:"api_allowlist"`
	Fetch   fetch    `yaml:"fetch_proxy"`
	Forward forward  `yaml:"forward_proxy"`
	TLS     tls      `yaml:"tls_interception"`
	Body    body     `yaml:"request_body_scanning"`
	DLP     dlp      `yaml:"dlp"`
	Seeds   seeds    `yaml:"seed_phrase_detection"`
	Answers answers  `yaml:"response_scanning"`
	SSRF    *ssrf    `yaml:"ssrf,omitempty"`
	Media   enabled  `yaml:"media_policy"`
	Shield  enabled  `yaml:"browser_shield"`
	Taint   enabled  `yaml:"taint"`
	Sentry  enabled  `yaml:"sentry"`
	Logging logging  `yaml:"logging"`
}

type enabled struct {
	Enabled bool `yaml:"enabled"`
}

type fetch struct {
	Listen     string     `yaml:"listen"`
	Timeout    int        `yaml:"timeout_seconds"`
	MaxAnswer  int        `yaml:"max_response_mb"`
	Monitoring monitoring `yaml:"monitoring"`
}

// monitoring guesses at what is no secret by its form, which egress does better or
// not at all.
type monitoring struct {
	MaxURL     int      `yaml:"max_url_length"`
	Entropy    float64  `yaml:"entropy_threshold"`
	SubEntropy float64  `yaml:"subdomain_entropy_threshold"`
	MaxRate    int      `yaml:"max_requests_per_minute"`
	Blocked    []string `yaml:"blocklist"`
}

type forward struct {
	Enabled   bool `yaml:"enabled"`
	MaxTunnel int  `yaml:"max_tunnel_seconds"`
	Idle      int  `yaml:"idle_timeout_seconds"`
	SNI       bool `yaml:"sni_verification"` // it would break kept connections
}

type tls struct {
	Enabled     bool     `yaml:"enabled"`
	Cert        string   `yaml:"ca_cert"`
	Key         string   `yaml:"ca_key"`
	Passthrough []string `yaml:"passthrough_domains"`
	Life        string   `yaml:"cert_ttl"`
	Cache       int      `yaml:"cert_cache_size"`
	MaxAnswer   int      `yaml:"max_response_bytes"`
}

type body struct {
	Enabled bool     `yaml:"enabled"`
	Action  string   `yaml:"action"`
	MaxBody int64    `yaml:"max_body_bytes"`
	Scan    bool     `yaml:"scan_headers"`
	Mode    string   `yaml:"header_mode"`
	Ignore  []string `yaml:"ignore_headers"`
}

type dlp struct {
	Env      bool     `yaml:"scan_env"`
	Defaults bool     `yaml:"include_defaults"`
	Patterns []string `yaml:"patterns"`
}

type seeds struct {
	Enabled  bool `yaml:"enabled"`
	MinWords int  `yaml:"min_words"`
	Checksum bool `yaml:"verify_checksum"`
}

type answers struct {
	Enabled  bool     `yaml:"enabled"`
	Action   string   `yaml:"action"`
	Defaults bool     `yaml:"include_defaults"`
	Patterns []string `yaml:"patterns"`
	Stream   enabled  `yaml:"sse_streaming"`
}

type ssrf struct {
	Allow []string `yaml:"ip_allowlist"`
}

type logging struct {
	Format  string `yaml:"format"`
	Output  string `yaml:"output"`
	Allowed bool   `yaml:"include_allowed"`
	Blocked bool   `yaml:"include_blocked"`
}

const megabyte = 1 << 20

// nobody stands on a list that would be empty, which pipelock does not take: no
// name below .invalid ever resolves.
const nobody = "nobody.invalid"

// Render makes the file of a bottle that begins, with these hosts, as Hosts
// returns them.
func Render(hosts []string, o Options) ([]byte, error) {
	if len(hosts) == 0 {
		hosts = []string{nobody}
	}
	f := file{Version: 1, Mode: "strict", Enforce: true, Allow: hosts,
		Fetch: fetch{Listen: fmt.Sprintf("0.0.0.0:%d", Port), Timeout: 600, MaxAnswer: 512,
			Monitoring: monitoring{MaxURL: 16384, Entropy: 8, SubEntropy: 8, MaxRate: 100_000_000, Blocked: []string{}}},
		Forward: forward{Enabled: true, MaxTunnel: 3600, Idle: 300},
		TLS: tls{Enabled: true, Cert: Dir + "/" + CertFile, Key: Dir + "/" + KeyFile, Passthrough: sorted(o.Passthrough),
			Life: "24h", Cache: 10_000, MaxAnswer: 512 * megabyte},
		Body:    body{Enabled: true, Action: "block", MaxBody: o.MaxBody, Scan: true, Mode: "all", Ignore: ignored(o.Headers)},
		DLP:     dlp{Defaults: true, Patterns: []string{}},
		Seeds:   seeds{Enabled: true, MinWords: 12, Checksum: true},
		Answers: answers{Enabled: true, Action: "warn", Patterns: []string{}},
		SSRF:    private(o.Private),
		Logging: logging{Format: "json", Output: "stdout", Allowed: true, Blocked: true}}
	var b bytes.Buffer
	b.WriteString("# What bottle-start made for this bottle's pipelock. bottle-edit SLUG pipelock changes it;\n" +
		"# approved hosts are added to api_allowlist as it stands.\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, fmt.Errorf("cannot render pipelock's file: %w", err)
	}
	return b.Bytes(), nil
}

// ignored are the headers that are not scanned. A list that is empty, or absent,
// would be pipelock's own, which leaves out many more.
func ignored(headers []string) []string {
	if len(headers) == 0 {
		return []string{"connection"}
	}
	return sorted(headers)
}

func private(addresses []netip.Addr) *ssrf {
	if len(addresses) == 0 {
		return nil
	}
	list := make([]string, 0, len(addresses))
	for _, a := range addresses {
		list = append(list, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return &ssrf{Allow: sorted(list)}
}

// InjectedHeaders are those into which a policy's routes and these credentials
// have something put, sorted, each once.
func InjectedHeaders(p policy.Policy, more []policy.Auth) []string {
	var names []string
	for _, r := range p.Routes {
		if r.Auth.Set() {
			names = append(names, r.Auth.Target())
		}
	}
	for _, a := range more {
		names = append(names, a.Target())
	}
	return sorted(names)
}

// sorted returns the values in order, each once, and never nil.
func sorted(list []string) []string {
	list = append([]string{}, list...)
	slices.Sort(list)
	return slices.Compact(list)
}
