package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp/syntax"
	"slices"
	"strings"

	"bottle/pkg/dlp"
	"github.com/zricethezav/gitleaks/v8/config"

	"github.com/spf13/viper"
)

// writeTable writes one rule a line, sorted by ID: gitleaks' first, and the
// exceptions that hold for all of them in front.
func writeTable(w io.Writer) error {
	conf, err := gitleaks()
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(dlp.Rule{ID: dlp.Everywhere, Allow: allows(conf.Allowlists)}); err != nil {
		return err
	}
	var ids []string
	for id := range conf.Rules {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		rules, err := translate(conf.Rules[id])
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		for _, r := range rules {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// gitleaks returns gitleaks' default configuration.
func gitleaks() (config.Config, error) {
	v := viper.New()
	v.SetConfigType("toml")
	if err := v.ReadConfig(strings.NewReader(config.DefaultConfig)); err != nil {
		return config.Config{}, err
	}
	var vc config.ViperConfig
	if err := v.Unmarshal(&vc); err != nil {
		return config.Config{}, err
	}
	return vc.Translate()
}

func allows(lists []*config.Allowlist) []dlp.Allow {
	var out []dlp.Allow
	for _, l := range lists {
		a := dlp.Allow{Target: l.RegexTarget, Words: slices.Sorted(slices.Values(l.StopWords))}
		for _, re := range l.Regexes {
			a.Regexes = append(a.Regexes, re.String())
		}
		// A list that demands a path as well cannot hold here: a request has none.
		if l.MatchCondition == config.AllowlistMatchAnd || len(a.Regexes)+len(a.Words) == 0 {
			continue
		}
		out = append(out, a)
	}
	return out
}

// The pieces that gitleaks builds its expressions of.
const (
	lead   = `[\w.-]{0,50}?`
	gap    = `(?:[ \t\w.-]{0,20})[\s'"]{0,3}`
	assign = `(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}`
	end    = `(?:[\x60'"\s;]|\\[nr]|$)`
	// A key ends where no character of a word follows, and no name's ending: behind
	// & in a URL, behind \" in a string within a string, not in x.ico-0123.png.
	wordEnd = `(?:[^A-Za-z0-9_.]|\.(?:[^A-Za-z0-9]|$)|$)`
)

// translate turns a rule of gitleaks into ours: usually one, several where an
// expression is an alternative of two kinds.
func translate(g config.Rule) ([]dlp.Rule, error) {
	r := dlp.Rule{ID: g.RuleID, Entropy: g.Entropy, Group: g.SecretGroup, Allow: allows(g.Allowlists)}
	for _, k := range g.Keywords {
		r.Keywords = append(r.Keywords, strings.ToLower(k))
	}
	slices.Sort(r.Keywords)
	if g.Path != nil {
		r.Path = g.Path.String()
	}
	if g.Regex == nil {
		r.Class, r.Needs = dlp.Format, needs[r.ID]
		return []dlp.Rule{r}, nil
	}
	parts := []part{{regex: g.Regex.String()}}
	if o, ok := overrides[r.ID]; ok {
		parts = o
	}
	var out []dlp.Rule
	for _, p := range parts {
		one := r
		if p.keywords != nil {
			one.Keywords = p.keywords
		}
		if p.entropy != 0 {
			one.Entropy = p.entropy
		}
		if err := shape(&one, p.regex); err != nil {
			return nil, err
		}
		one.Reach = max(one.Reach, p.near)
		one.Needs = needs[r.ID]
		if n, ok := reaches[r.ID]; ok {
			one.Reach, one.Anchored, one.Fronts = n, false, nil
		}
		switch r.ID {
		case "generic-api-key":
			one.Mixed = true
			one.Allow = append(one.Allow, names, keys)
		case "vault-service-token":
			one.Allow = append(one.Allow, methods)
		}
		out = append(out, one)
	}
	return out, nil
}

// needs are what a match holds besides its keyword, of rules whose keyword is
// common and whose expression reaches far, or of those without one.
var needs = map[string][]string{
	"jwt":         {".ey"},
	"pkcs12-file": {".p", ".P"},
	"private-key": {"PRIVATE KEY", "private key"},
}

// reaches bound rules that would reach farther than they have to. Where many of
// their keywords stand together, all are looked at in one go.
var reaches = map[string]int{"curl-auth-header": 512, "curl-auth-user": 512}

// shape fills in the expression, its class and how far it reaches.
func shape(r *dlp.Rule, regex string) error {
	r.Class = dlp.Format
	if strings.Contains(regex, assign) {
		r.Class = dlp.Service
		regex = strings.Replace(regex, lead, "", 2)
		r.Assign = true
	}
	if class, ok := classes[r.ID]; ok {
		r.Class = class
	}
	if r.Class == dlp.Format {
		regex = strings.ReplaceAll(regex, end, wordEnd)
		r.Sessions = slices.Contains(sessions, r.ID)
		r.Weak = slices.Contains(weak, r.ID)
	}
	if rest, ok := strings.CutPrefix(regex, `\b`); ok {
		r.Word, regex = true, rest
	}
	tree, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return err
	}
	r.Regex = regex
	_, r.Reach = lengths(tree)
	fronts := expand(tree)
	if r.Assign && !anchored(fronts, r.Keywords) {
		r.Keywords = folded(fronts) // gitleaks names what the value begins with
	}
	if anchored(fronts, r.Keywords) {
		r.Anchored = true
		if exact(fronts) {
			r.Fronts = texts(fronts)
		}
	}
	if r.Assign {
		i := strings.Index(regex, assign)
		value, err := syntax.Parse(strings.TrimSuffix(regex[i+len(assign):], end), syntax.Perl)
		if err != nil {
			return err
		}
		r.Least, _ = lengths(value)
		if !r.Anchored {
			return fmt.Errorf("an assignment that begins with none of its keywords")
		}
	}
	return nil
}
