package manifest

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"bottle/pkg/policy"
	"bottle/pkg/tokenref"
)

func ref(t *testing.T, text string) tokenref.Ref {
	t.Helper()
	r, err := tokenref.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const wholeEgress = `---
env:
  NPM_TOKEN: {from: "file:/tokens/npm", hosts: [Packages.example.com]}
  STAGE_KEY: ${STAGE_KEY}
egress:
  routes:
    - host: API.github.com.
      path_allowlist: [/repos/ada/engine, "/*"]
      methods: [get, POST]
      auth: {scheme: Bearer, token_ref: GITHUB_TOKEN, refresh: 45m}
      private: true
      foreign_credentials: refuse
    - {host: mirror.example.com, scheme: http, port: 8080, auth: {header: X-Key, token_ref: GITHUB_TOKEN}}
    - {host: api.github.com, path_allowlist: [], foreign_credentials: allow}
  credentials:
    docs: {scheme: Basic, token_ref: "cmd:pass show docs", hosts: [docs.example.com, b.example.com]}
---
`

func whole(t *testing.T) Manifest {
	t.Helper()
	dir := home(t, map[string]string{"agents/a.md": plainAgent, "bottles/dev.md": wholeEgress})
	m, err := Load(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoutesAndCredentialsAreReadWhole(t *testing.T) {
	m := whole(t)
	want := []Route{
		{Route: policy.Route{Host: "api.github.com", Scheme: "https", Port: 443, Paths: []string{"/repos/ada/engine", "/*"}, Methods: []string{"GET", "POST"},
			Auth: policy.Auth{Scheme: "Bearer", Credential: "env:GITHUB_TOKEN", Refresh: 45 * time.Minute}, Private: true, RefuseForeign: true}, Ref: ref(t, "GITHUB_TOKEN"),
			Keys: []string{"host", "path_allowlist", "methods", "auth", "private", "foreign_credentials"}, Where: "bottles/dev.md:7"},
		{Route: policy.Route{Host: "mirror.example.com", Scheme: "http", Port: 8080, Auth: policy.Auth{Header: "x-key", Credential: "env:GITHUB_TOKEN"}},
			Ref: ref(t, "GITHUB_TOKEN"), Keys: []string{"host", "scheme", "port", "auth"}, Where: "bottles/dev.md:13"},
		{Route: policy.Route{Host: "api.github.com", Scheme: "https", Port: 443}, Keys: []string{"host", "path_allowlist", "foreign_credentials"},
			Where: "bottles/dev.md:14"},
	}
	if !reflect.DeepEqual(m.Routes, want) {
		t.Errorf("routes are\n%+v\nwant\n%+v", m.Routes, want)
	}
	credentials := []Credential{{Auth: policy.Auth{Scheme: "Basic", Credential: "docs"}, Ref: ref(t, "cmd:pass show docs"),
		Hosts: []string{"docs.example.com", "b.example.com"}, Where: "bottles/dev.md:16"}}
	if !reflect.DeepEqual(m.Credentials, credentials) {
		t.Errorf("credentials are %+v", m.Credentials)
	}
	env := []EnvVar{{Name: "NPM_TOKEN", From: ref(t, "file:/tokens/npm"), Hosts: []string{"packages.example.com"}, Where: "bottles/dev.md:3"},
		{Name: "STAGE_KEY", From: ref(t, "STAGE_KEY"), Where: "bottles/dev.md:4"}}
	if !reflect.DeepEqual(m.Env, env) {
		t.Errorf("env is %+v", m.Env)
	}
	if len(m.Warnings) != 2 || !strings.Contains(m.Warnings[0], "the * in /* is an ordinary character") || !strings.Contains(m.Warnings[1], "in clear") {
		t.Errorf("warnings are %q", m.Warnings)
	}
}

func TestEachReferenceIsResolvedOnce(t *testing.T) {
	dir := t.TempDir()
	count := dir + "/count"
	m := Manifest{
		Env: []EnvVar{{Name: "PLAIN", Literal: "x"}, {Name: "KEY", From: ref(t, "MULTI"), Where: "b:1"}},
		Routes: []Route{{Route: policy.Route{Host: "a.com", Auth: policy.Auth{Scheme: "Bearer", Credential: "cmd:x"}}, Ref: ref(t, "cmd:tee -a "+count), Where: "b:2"},
			{Route: policy.Route{Host: "b.com"}}},
		Credentials: []Credential{{Auth: policy.Auth{Credential: "docs"}, Ref: ref(t, "SHORT"), Where: "b:3"}},
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"MULTI": "-----BEGIN\nline\n-----END\n", "SHORT": "short"}[name]
		return v, ok
	}
	// The command prints nothing, which is an error that names everything.
	_, err := Resolve(t.Context(), m, tokenref.Resolver{Lookup: lookup})
	if err == nil || err.Error() != "b:2: the route to a.com: cannot resolve cmd:tee -a "+count+": it is empty" {
		t.Errorf("%v", err)
	}
	script := dir + "/script"
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho run >> "+count+"\necho the-long-token\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := ref(t, "cmd:"+script)
	m.Routes[0].Ref, m.Routes[0].Auth.Credential = r, r.Name()
	m.Routes = append(m.Routes, m.Routes[0])
	v, err := Resolve(t.Context(), m, tokenref.Resolver{Lookup: lookup})
	want := Values{Env: map[string]string{"KEY": "-----BEGIN\nline\n-----END"}, Credentials: map[string]string{r.Name(): "the-long-token", "docs": "short"},
		Warnings: []string{"b:3: what is behind SHORT is shorter than 12 bytes: nobody looks for it in what leaves the bottle"}}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%+v, %v", v, err)
	}
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "run\n" {
		t.Errorf("the command ran: %q, %v", runs, err)
	}
}

func TestValuesThatNoHeaderCarriesAreRefused(t *testing.T) {
	for value, want := range map[string]string{"a\r\nX-Injected: b": "cannot go into a header: its character 2", "a\x01b": "character 2", "schlüssel": "character 5",
		" padded": "begins or ends with a space"} {
		lookup := func(string) (string, bool) { return value, true }
		for _, m := range []Manifest{
			{Routes: []Route{{Route: policy.Route{Auth: policy.Auth{Scheme: "Bearer", Credential: "env:T"}}, Ref: ref(t, "T"), Where: "b:9"}}},
			{Credentials: []Credential{{Auth: policy.Auth{Scheme: "Bearer", Credential: "docs"}, Ref: ref(t, "T"), Where: "b:9"}}},
			{Env: []EnvVar{{Name: "T", From: ref(t, "T"), Hosts: []string{"a.com"}, Where: "b:9"}}},
		} {
			v, err := Resolve(t.Context(), m, tokenref.Resolver{Lookup: lookup})
			if err == nil || !strings.HasPrefix(err.Error(), "b:9: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value) {
				t.Errorf("%q: %+v, %v", value, v, err)
			}
		}
	}
	_, err := Resolve(t.Context(), Manifest{Env: []EnvVar{{Name: "B", From: ref(t, "MINE"), Where: "bottles/dev.md:4"}}},
		tokenref.Resolver{Lookup: func(string) (string, bool) { return "", false }})
	if err == nil || err.Error() != "bottles/dev.md:4: B: your environment has no MINE" {
		t.Errorf("%v", err)
	}
}
