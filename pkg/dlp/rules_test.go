package dlp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"testing"
)

// examples returns one example that holds a secret for each rule that the
// scanner tries in a model's messages.
func examples(t *testing.T, s *Scanner) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/examples.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Rule, Path, Text string
			Good             bool
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if r := s.rules.byID[e.Rule]; !e.Good || e.Path != "" || found[e.Rule] != "" || r.Class != Format {
			continue
		}
		if isFinding(body(s, model, "text/plain", "", []byte(e.Text), 1<<20), "") {
			found[e.Rule] = e.Text
		}
	}
	return found
}

// carriers are ways to send a text.
var carriers = []struct {
	name string
	send func(q *Request, text string) error
}{
	{"JSON", func(q *Request, s string) error {
		return bodyOf(q, "application/json", "", []byte(jsonOf(map[string]string{"a": s})), 999)
	}},
	{"JSON in JSON", func(q *Request, s string) error {
		return bodyOf(q, "application/json", "", []byte(jsonOf(map[string]string{"a": jsonOf(map[string]string{"b": s})})), 999)
	}},
	{"form", func(q *Request, s string) error {
		return bodyOf(q, "application/x-www-form-urlencoded", "", []byte("x=1&a="+url.QueryEscape(s)), 999)
	}},
	{"multipart", func(q *Request, s string) error {
		form, data := multi([2]string{"x", "y"}, [2]string{"a", s})
		return bodyOf(q, form, "", data, 999)
	}},
	{"query", func(q *Request, s string) error { return q.Head([]byte("/x?a="+url.QueryEscape(s)), nil) }},
	{"header", func(q *Request, s string) error {
		return q.Head([]byte("/"), headers("X-Data", strings.ReplaceAll(s, "\n", " ")))
	}},
	{"gzip", func(q *Request, s string) error { return bodyOf(q, "", "gzip", packed(s), 999) }},
	{"base64", encodedBy("base64")}, {"base64 url", encodedBy("base64, url alphabet, no padding")}, {"base64 lines", encodedBy("base64, wrapped")},
	{"base32", encodedBy("base32")}, {"hex", encodedBy("hex")}, {"URL", encodedBy("URL, every byte")}, {"URL twice", encodedBy("URL, every byte, twice")},
	{"JSON escapes", encodedBy("JSON, every byte")}, {"HTML", encodedBy("HTML, decimal")}, {"UTF-16", encodedBy("UTF-16 LE")},
	{"base64 of hex of URL", encodedBy("URL, every byte", "hex", "base64")}, {"base64 thrice", encodedBy("base64", "base64", "base64")},
	{"base64 of gzip", encodedBy("gzip", "base64")},
}

func encodedBy(names ...string) func(*Request, string) error {
	return func(q *Request, s string) error {
		for _, n := range names {
			for _, e := range encodings {
				if e.name == n {
					s = e.encode(s)
				}
			}
		}
		return bodyOf(q, "application/json", "", []byte(jsonOf([]string{"some text", s})), 999)
	}
}

func TestKeysAreFoundHoweverTheyTravel(t *testing.T) {
	s := scanner(t)
	texts := examples(t, s)
	if len(texts) < 100 {
		t.Errorf("only %d rules have an example", len(texts))
	}
	var figures []string
	for _, c := range carriers {
		found := 0
		for id, text := range texts {
			q := s.Request(model)
			err := c.send(q, text)
			q.Close()
			if isFinding(err, "") {
				found++
			} else {
				t.Errorf("%s, %s: %v: %.90q", id, c.name, err, text)
			}
		}
		figures = append(figures, fmt.Sprintf("%s %d", c.name, found))
	}
	t.Logf("of %d rules of class format: %s", len(texts), strings.Join(figures, ", "))
}

// keyOf makes up what an expression such as [A-Z]{8} with a prefix matches.
func keyOf(prefix, alphabet string, n int) string {
	m := maker{rand.New(rand.NewPCG(uint64(n), uint64(len(prefix))))}
	return prefix + m.of(alphabet, n)
}

const (
	alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	low   = "abcdef0123456789"
)

func TestOwnRulesFindTheirKeys(t *testing.T) {
	s := scanner(t)
	m := maker{rand.New(rand.NewPCG(5, 6))}
	keys := map[string]string{
		"discord-bot-token":          "MT" + m.of(alnum, 24) + "." + m.of(alnum, 6) + "." + m.of(alnum, 38),
		"anthropic-oauth-token":      keyOf("sk-ant-oat01-", alnum, 95),
		"fireworks-api-key":          keyOf("fw_", alnum, 24),
		"google-oauth-client-secret": keyOf("GOCSPX-", alnum, 28),
		"google-oauth-token":         keyOf("ya29.", alnum, 120),
		"groq-api-key":               keyOf("gsk_", alnum, 52),
		"newrelic-user-key":          keyOf("NRAK-", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 27),
		"notion-secret":              keyOf("secret_", alnum, 43),
		"pinecone-api-key":           "pcsk_" + m.of(alnum, 6) + "_" + m.of(alnum, 63),
		"replicate-api-token":        keyOf("r8_", alnum, 37),
		"stripe-webhook-secret":      keyOf("whsec_", alnum, 32),
		"supabase-access-token":      keyOf("sbp_", low, 40),
		"supabase-secret-key":        "sb_secret_" + m.of(alnum, 22) + "_" + m.of(alnum, 8),
		"together-api-key":           keyOf("tgp_v1_", alnum, 43),
		"vercel-token":               keyOf("vcp_", alnum, 56),
		"xai-api-key":                keyOf("xai-", alnum, 80),
		"bip32-private-key":          base58Of(append([]byte{0x04, 0x88, 0xad, 0xe4}, m.bytes(74)...)),
		"bitcoin-private-key":        base58Of(append(append([]byte{0x80}, m.bytes(32)...), 1)),
		"ethereum-private-key":       "PRIVATE_KEY=0x" + m.hex(64),
		"aws-secret-access-key":      "aws_secret_access_key = " + m.of(alnum+"/+", 40),
		"us-social-security-number":  "SSN: 536" + "-22-8017",
		"credential-in-url":          "https://ada:" + m.of(alnum, 14) + "@db.example.com/x",
		"iban":                       ibanOf("DE", m.of("0123456789", 18)),
		mnemonicRule:                 phraseOf(m, 12),
		cardRule:                     "",
	}
	for _, r := range own {
		key, ok := keys[r.ID]
		if !ok {
			t.Errorf("%s: no key", r.ID)
		}
		if key == "" {
			continue
		}
		for _, text := range []string{key, "see: " + key + "\nand more", `x="` + key + `";`} {
			if err := body(s, ordinary, "text/plain", "", []byte(text), 13); !isFinding(err, r.ID) {
				t.Errorf("%s: %v: %.60s", r.ID, err, text)
			}
		}
	}
	for _, n := range []int{12, 15, 18, 21, 24} {
		text := phraseOf(m, n)
		for _, text := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, " ", "\n"), strings.ReplaceAll(text, " ", `", "`), "words " + text + " zebra crossing"} {
			if err := body(s, model, "text/plain", "", []byte(text), 9); !isFinding(err, mnemonicRule) {
				t.Errorf("%d words: %v: %s", n, err, text)
			}
		}
	}
}

func TestCardNumbersAreFoundInTargetsAndHeadersAlone(t *testing.T) {
	s := scanner(t)
	for _, card := range []string{"4539578763621486", "4539 5787 6362 1486", "5425-2334-3010-9903", "374245455400126"} {
		q := s.Request(ordinary)
		if err := q.Head([]byte("/pay?card="+url.QueryEscape(card)), nil); !isFinding(err, cardRule) {
			t.Errorf("%s in the target: %v", card, err)
		}
		q = s.Request(ordinary)
		if err := q.Head([]byte("/pay"), headers("X-Card", card)); !isFinding(err, cardRule) {
			t.Errorf("%s in a header: %v", card, err)
		}
		if err := body(s, ordinary, "text/plain", "", []byte(card), 99); err != nil {
			t.Errorf("%s in a body: %v", card, err)
		}
	}
	for _, text := range []string{"4539578763621487", "4242424242424242", "1763612345678901234", "45395787636214860", "x4539578763621486"} {
		q := s.Request(ordinary)
		if err := q.Head([]byte("/pay?n="+text), nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// base58Of encodes bytes and their checksum.
func base58Of(b []byte) string {
	sum := doubleHash(b)
	return strings.TrimLeft(encode58(append(bytes.Clone(b), sum[:4]...)), "1")
}

func ibanOf(country, account string) string {
	for check := range 100 {
		if s := fmt.Sprintf("%s%02d%s", country, check, account); isIBAN([]byte(s)) {
			return s
		}
	}
	return ""
}

// TestSeedAmongWords finds a phrase wherever it stands between words, some of
// which are the list's own.
func TestSeedAmongWords(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(7, 7))}
	s := scanner(t)
	all := strings.Fields(wordlist)
	around := func() string {
		var b strings.Builder
		for range m.IntN(40) {
			word := []string{"the", "it's", "xyzzy", "a", "configuration", "4711", "<b>", "§", all[m.IntN(len(all))]}[m.IntN(9)]
			b.WriteString(word + strings.Repeat(" ", 1+m.IntN(12)))
		}
		return b.String()
	}
	for range 400 {
		separator := []string{" ", "\n", ", ", "\" \"", "   ", "\n12. "}[m.IntN(6)]
		phrase := strings.Join(strings.Fields(phraseOf(m, 12+3*m.IntN(5))), separator)
		text := around() + phrase + " " + around()
		if err := body(s, ordinary, "text/plain", "", []byte(text), 16<<10); !isFinding(err, mnemonicRule) {
			t.Errorf("%v: %q", err, text)
		}
	}
}

// phraseOf makes up a seed of n words.
func phraseOf(m maker, n int) string {
	list := strings.Fields(wordlist)
	words := make([]string, n)
	for {
		var indices []int
		for i := range words {
			k := m.IntN(len(list))
			words[i], indices = list[k], append(indices, k)
		}
		if varied(indices) && seeds(indices) {
			return strings.Join(words, " ")
		}
	}
}
