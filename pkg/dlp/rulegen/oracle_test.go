package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/dlp"

	"github.com/zricethezav/gitleaks/v8/detect"
)

// example is one that gitleaks tries a rule of its own with.
type example struct {
	Rule, Path, Text string
	Good             bool // it holds a secret
}

func examplesOf(t *testing.T) []example {
	t.Helper()
	f, err := os.Open("../testdata/examples.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e example
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if lines.Err() != nil || len(all) < 6000 {
		t.Fatalf("%d examples, %v", len(all), lines.Err())
	}
	return all
}

// single returns a scanner for each rule of the table alone, with the
// exceptions that hold for all.
func single(t *testing.T) map[string]*dlp.Scanner {
	t.Helper()
	table, err := os.ReadFile("../rules.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]byte{}
	var everywhere []byte
	for line := range bytes.Lines(table) {
		var r dlp.Rule
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.ID == dlp.Everywhere {
			everywhere = line
		} else {
			rows[r.ID] = append(rows[r.ID], line...)
		}
	}
	all := map[string]*dlp.Scanner{}
	for id, lines := range rows {
		rs, err := dlp.Load(slices.Concat(everywhere, lines))
		if err != nil {
			t.Fatal(err)
		}
		if all[id], err = dlp.New(rs, nil, dlp.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// scan scans a text as a body, or where it has a path as a file of that name.
func scan(t *testing.T, s *dlp.Scanner, e example) string {
	t.Helper()
	body, form := []byte(e.Text), "text/plain"
	if e.Path != "" {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename=%q`, e.Path)}}
		p, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		p.Write([]byte(e.Text))
		w.Close()
		body, form = b.Bytes(), w.FormDataContentType()
	}
	q := s.Request(dlp.Policy{Host: "example.com"})
	defer q.Close()
	b, err := q.Body(form, "")
	if err == nil {
		_, err = b.Write(body)
	}
	if err == nil {
		err = b.Close()
	}
	if f := (*dlp.Finding)(nil); errors.As(err, &f) {
		return f.Rule
	}
	if err != nil {
		t.Fatalf("%s: %v", e.Text, err)
	}
	return ""
}

// standIn matches what is no secret by our lights: gitleaks' own examples hold
// some, because it asks each rule for an entropy of its own, or for none.
var standIn = regexp.MustCompile(`123456789|EXAMPLE|QQQQQQQQ`)

// madeUp are examples of rules to which gitleaks has none.
func madeUp() []example {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = of[r.IntN(len(of))]
		}
		return string(b)
	}
	random := func(n int) string { return pick("abcdefghijklmnopqrstuvwxyz0123456789", n) }
	hex := func(n int) string { return pick("0123456789abcdef", n) }
	uuid := hex(8) + "-" + hex(4) + "-" + hex(4) + "-" + hex(4) + "-" + hex(12)
	return []example{
		{Rule: "dropbox-long-lived-api-token", Text: `dropbox_token = "` + random(11) + "AAAAAAAAAA" + random(43) + `"`, Good: true},
		{Rule: "dropbox-short-lived-api-token", Text: `dropbox_token = "sl.` + random(135) + `"`, Good: true},
		{Rule: "age-secret-key", Text: "AGE-SECRET-KEY-1" + pick("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58), Good: true},
		{Rule: "messagebird-client-id", Text: `messagebird_client = "` + uuid + `"`, Good: true},
		{Rule: "snyk-api-token", Text: `SNYK_TOKEN=` + uuid, Good: true},
		{Rule: "sonar-api-token", Text: `sonar.login = ` + random(40), Good: true},
	}
}

func TestEveryRuleFindsWhatGitleaksFinds(t *testing.T) {
	oracle, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	scanners := single(t)
	type count struct{ found, of, falsely, clean int }
	placeholders, counts := 0, map[string]*count{}
	for _, e := range append(examplesOf(t), madeUp()...) {
		c := counts[e.Rule]
		if c == nil {
			c = &count{}
			counts[e.Rule] = c
		}
		theirs := false
		//lint:ignore SA1019 there is no other way to give a file's name yet
		for _, f := range oracle.Detect(detect.Fragment{Raw: e.Text, FilePath: e.Path}) {
			theirs = theirs || f.RuleID == e.Rule
		}
		ours := scan(t, scanners[e.Rule], e) == e.Rule
		if theirs {
			c.of++
			if ours {
				c.found++
			} else if standIn.MatchString(e.Text) {
				c.of--
				placeholders++
			} else {
				t.Errorf("%s: not found in %s", e.Rule, short(e.Text))
			}
			continue
		}
		c.clean++
		if ours && !e.Good {
			c.falsely++
			t.Logf("%s: found in %s, where gitleaks finds nothing", e.Rule, short(e.Text))
		}
	}
	var found, of, falsely, clean, rules int
	for id := range scanners {
		c := counts[id]
		if c == nil || c.of == 0 {
			t.Errorf("%s: there is no example that gitleaks finds", id)
			continue
		}
		if c.found == 0 {
			t.Errorf("%s: finds none of %d examples", id, c.of)
		}
		rules++
		found, of, falsely, clean = found+c.found, of+c.of, falsely+c.falsely, clean+c.clean
	}
	t.Logf("%d rules: %d of the %d examples that gitleaks finds; %d more are placeholders; found in %d of its %d counterexamples",
		rules, found, of, placeholders, falsely, clean)
}

func short(s string) string {
	s = strings.ReplaceAll(s, "\n", "⏎")
	return fmt.Sprintf("%.120s", s)
}
