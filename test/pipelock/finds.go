package main

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pattern is one kind of secret.
type pattern struct {
	name string
	form *regexp.Regexp
	core bool // there is no exception for it
}

// patterns are all that the stand-in knows.
var patterns = []pattern{
	{name: "GitHub Token", form: regexp.MustCompile(`ghp_[0-9A-Za-z]{36}`), core: true},
	{name: "JWT Token", form: regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}`)},
}

// exception is an entry of "suppress".
type exception struct {
	Rule   string `yaml:"rule"`
	Path   string `yaml:"path"`
	Reason string `yaml:"reason"`
}

func checkExceptions(list []exception) error {
	for _, e := range list {
		if e.Rule == "" || e.Path == "" {
			return errors.New("suppress: an entry needs a rule and a path")
		}
		if slices.ContainsFunc(patterns, func(p pattern) bool { return p.core && strings.EqualFold(p.name, e.Rule) }) {
			return fmt.Errorf("suppress: %q is a core pattern", e.Rule)
		}
	}
	return nil
}

// lets says whether an exception is for a URL: one whose path ends in "/" is for all
// that begins so, any other for the whole URL, a glob of it or of its last part, or
// its end.
func (e exception) lets(name, url string) bool {
	if !strings.EqualFold(e.Rule, name) {
		return false
	}
	if strings.HasSuffix(e.Path, "/") {
		return strings.HasPrefix(url, e.Path)
	}
	whole, _ := path.Match(e.Path, url)
	last, _ := path.Match(e.Path, path.Base(url))
	return whole || last || url == e.Path || strings.HasSuffix(url, "/"+e.Path)
}

// finds says which block a request deserves.
func (p *proxy) finds(r *http.Request, host string, body []byte) string {
	c := p.config()
	url := "https://" + host + r.URL.RequestURI()
	for _, s := range patterns {
		if s.core && s.form.MatchString(r.URL.String()) {
			return "blocked: core DLP match: " + s.name + " (critical)"
		}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" {
		return fmt.Sprintf("blocked: request body uses Content-Encoding %q", e)
	}
	var found []string
	for _, s := range patterns {
		excepted := slices.ContainsFunc(c.Suppress, func(e exception) bool { return e.lets(s.name, url) })
		if !excepted && s.form.Match(body) {
			found = append(found, s.name)
		}
	}
	if len(found) > 0 {
		return "blocked: request body contains secret: " + strings.Join(found, ", ")
	}
	for name, values := range r.Header {
		ignored := slices.ContainsFunc(c.Body.Ignore, func(h string) bool { return strings.EqualFold(h, name) })
		for _, s := range patterns {
			if !ignored && s.form.MatchString(strings.Join(values, "\n")) {
				return "blocked: request header contains secret"
			}
		}
	}
	return ""
}
