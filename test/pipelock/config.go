package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"bottle/pkg/ca"
)

// config is the file, as far as it matters here; other keys are known and no more.
type config struct {
	Version int      `yaml:"version"`
	Mode    string   `yaml:"mode"`
	Enforce bool     `yaml:"enforce"`
	Allow   []string `yaml:"api_allowlist"`
	Fetch   struct {
		Listen     string         `yaml:"listen"`
		Timeout    int            `yaml:"timeout_seconds"`
		MaxAnswer  int            `yaml:"max_response_mb"`
		Monitoring map[string]any `yaml:"monitoring"`
	} `yaml:"fetch_proxy"`
	Forward map[string]any `yaml:"forward_proxy"`
	TLS     struct {
		Enabled     bool     `yaml:"enabled"`
		Cert        string   `yaml:"ca_cert"`
		Key         string   `yaml:"ca_key"`
		Passthrough []string `yaml:"passthrough_domains"`
		Life        string   `yaml:"cert_ttl"`
		Cache       int      `yaml:"cert_cache_size"`
		MaxAnswer   int      `yaml:"max_response_bytes"`
	} `yaml:"tls_interception"`
	Body struct {
		Enabled bool     `yaml:"enabled"`
		Action  string   `yaml:"action"`
		Max     int64    `yaml:"max_body_bytes"`
		Headers bool     `yaml:"scan_headers"`
		Mode    string   `yaml:"header_mode"`
		Ignore  []string `yaml:"ignore_headers"`
	} `yaml:"request_body_scanning"`
	DLP      map[string]any `yaml:"dlp"`
	Seeds    map[string]any `yaml:"seed_phrase_detection"`
	Answers  map[string]any `yaml:"response_scanning"`
	SSRF     map[string]any `yaml:"ssrf"`
	Media    map[string]any `yaml:"media_policy"`
	Shield   map[string]any `yaml:"browser_shield"`
	Taint    map[string]any `yaml:"taint"`
	Sentry   map[string]any `yaml:"sentry"`
	Logging  map[string]any `yaml:"logging"`
	Suppress []exception    `yaml:"suppress"`
}

func load(file string) (*config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &config{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("cannot parse the config: %w", err)
	}
	switch {
	case c.Mode != "strict" || !c.Enforce:
		return nil, errors.New("the tests' files are strict and enforced")
	case len(c.Allow) == 0:
		return nil, errors.New("strict mode needs an api_allowlist")
	case !c.TLS.Enabled || !c.Body.Enabled || c.Body.Action != "block":
		return nil, errors.New("the tests' files open TLS, and block")
	}
	for _, h := range c.Allow {
		if strings.Trim(strings.TrimPrefix(h, "*."), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" || h == "" {
			return nil, fmt.Errorf("api_allowlist: %q is no domain", h)
		}
	}
	if err := checkExceptions(c.Suppress); err != nil {
		return nil, err
	}
	return c, nil
}

// lists says whether a host is on the list.
func (c *config) lists(host string) bool {
	return slices.ContainsFunc(c.Allow, func(h string) bool {
		if end, any := strings.CutPrefix(h, "*"); any {
			return strings.HasSuffix(strings.ToLower(host), strings.ToLower(end))
		}
		return strings.EqualFold(h, host)
	})
}

// issuer reads the CA: its key must be nobody else's to read.
func (c *config) issuer() (*ca.Issuer, error) {
	info, err := os.Stat(c.TLS.Key)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o037 != 0 {
		return nil, fmt.Errorf("%s may be read by others", c.TLS.Key)
	}
	cert, err := os.ReadFile(c.TLS.Cert)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(c.TLS.Key)
	if err != nil {
		return nil, err
	}
	return ca.Load(cert, key)
}

// roots are those that the environment names.
func roots() (*x509.CertPool, error) {
	data, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool, nil
}
