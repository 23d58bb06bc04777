package dlp

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"strings"
)

// own are the rules that gitleaks does not have.
var own = []Rule{
	{ID: "discord-bot-token", Class: Format, Keywords: []string{"mt", "nd", "nt", "od", "ot"}, Word: true, Anchored: true, Reach: 90,
		Fronts: []string{"MT", "ND", "NT", "OD", "OT"}, Entropy: 3.5,
		Regex: `([MNO][A-Za-z0-9]{23,27}\.[\w-]{6}\.[\w-]{27,38})(?:[^\w-]|$)`},
	{ID: "anthropic-oauth-token", Class: Format, Keywords: []string{"sk-ant-"}, Word: true, Anchored: true, Fronts: []string{"sk-ant-oat", "sk-ant-ort", "sk-ant-sid"}, Reach: 140,
		Entropy: 3.5, Regex: `(sk-ant-(?:oat|ort|sid)\d{2}-[\w-]{80,110})(?:[^\w-]|$)`},
	prefixed("fireworks-api-key", "fw_", `(fw_[A-Za-z0-9]{22,32})(?:\W|$)`, 40),
	prefixed("google-oauth-client-secret", "GOCSPX-", `(GOCSPX-[\w-]{28})(?:[^\w-]|$)`, 40),
	prefixed("google-oauth-token", "ya29.", `(ya29\.[\w-]{40,1000})`, 1100),
	prefixed("groq-api-key", "gsk_", `(gsk_[A-Za-z0-9]{52})(?:\W|$)`, 60),
	prefixed("newrelic-user-key", "NRAK-", `(NRAK-[A-Z0-9]{27})(?:\W|$)`, 36),
	prefixed("notion-secret", "secret_", `(secret_[A-Za-z0-9]{43})(?:\W|$)`, 54),
	prefixed("pinecone-api-key", "pcsk_", `(pcsk_[A-Za-z0-9]{5,8}_[A-Za-z0-9]{60,66})(?:\W|$)`, 90),
	prefixed("replicate-api-token", "r8_", `(r8_[A-Za-z0-9]{37})(?:\W|$)`, 44),
	prefixed("stripe-webhook-secret", "whsec_", `(whsec_[A-Za-z0-9]{32})(?:\W|$)`, 44),
	prefixed("supabase-access-token", "sbp_", `(sbp_[a-f0-9]{40})(?:\W|$)`, 48),
	prefixed("supabase-secret-key", "sb_secret_", `(sb_secret_[\w-]{22}_[\w-]{8})`, 48),
	prefixed("together-api-key", "tgp_v1_", `(tgp_v1_[\w-]{43})`, 60),
	{ID: "vercel-token", Class: Format, Keywords: []string{"vcp_", "vci_", "vca_", "vcr_", "vck_"}, Word: true, Anchored: true, Reach: 70,
		Fronts: []string{"vcp_", "vci_", "vca_", "vcr_", "vck_"}, Entropy: 3, Regex: `(vc[piark]_[A-Za-z0-9]{56})(?:\W|$)`},
	prefixed("xai-api-key", "xai-", `(xai-[A-Za-z0-9]{80})(?:\W|$)`, 90),
	{ID: "bip32-private-key", Class: Format, Keywords: []string{"xprv", "tprv", "yprv", "zprv"}, Word: true, Anchored: true, Reach: 120,
		Regex: `([xtyz]prv[1-9A-HJ-NP-Za-km-z]{107})(?:\W|$)`},
	{ID: "ethereum-private-key", Class: Service, Keywords: []string{"private"}, Anchored: true, Reach: 100, Entropy: 3,
		Regex: `(?i)private[ _-]?key["'` + "`" + `]?[ \t]{0,4}[:=][ \t]{0,4}["'` + "`" + `]?((?:0x)?[0-9a-f]{64})(?:\W|$)`},
	{ID: "aws-secret-access-key", Class: Service, Keywords: []string{"aws_secret", "secret_access_key", "secretaccesskey", "secret access key"},
		Anchored: true, Reach: 100, Entropy: 4,
		Regex: `(?i)(?:aws_secret|secret_access_key|secretaccesskey|secret access key)[\w \t]{0,20}["'` + "`" + `]{0,2}[ \t]{0,4}[:=>]{1,3}[ \t]{0,4}["'` + "`" + `]?([a-z0-9/+]{40})(?:[^a-z0-9/+=]|$)`},
	{ID: "us-social-security-number", Class: Service, Head: true, Keywords: []string{"ssn", "social security", "social_security"},
		Anchored: true, Reach: 80, Regex: `(?i)(?:ssn|social[ _]security)[ _a-z]{0,20}[^0-9a-z\n]{0,8}(\d{3}-\d{2}-\d{4})(?:\D|$)`},
	{ID: urlRule, Needs: []string{"@"}, Class: Service, Head: true, Keywords: []string{"://"}, Anchored: true, Reach: 300, Entropy: 3,
		Regex: `://[^\s/:@"'<>{}$()\[\]%*]{0,64}:([^\s/:@"'<>{}$()\[\]*` + "`" + `]{8,128})@[A-Za-z0-9][A-Za-z0-9.-]{2,100}`,
		Allow: []Allow{{Words: []string{"password", "passwd", "secret", "postgres", "mysql", "admin", "user", "token", "pass"}}}},
	// Found without keywords: phrase.go, and below.
	{ID: mnemonicRule, Class: Format, Entropy: 0.1},
	{ID: cardRule, Class: Format, Entropy: 0.1},
	{ID: ibanRule, Class: Service, Head: true, Entropy: 0.1},
	{ID: wifRule, Class: Format},
}

const (
	mnemonicRule = "bip39-mnemonic"
	cardRule     = "card-number"
	ibanRule     = "iban"
	wifRule      = "bitcoin-private-key"
	urlRule      = "credential-in-url"
)

func prefixed(id, prefix, regex string, reach int) Rule {
	return Rule{ID: id, Class: Format, Keywords: []string{strings.ToLower(prefix)}, Fronts: []string{prefix}, Word: true, Anchored: true,
		Regex: regex, Reach: reach, Entropy: 3}
}

// keywordless are found by their shape alone.
var keywordless = map[string]bool{mnemonicRule: true, cardRule: true, ibanRule: true, wifRule: true}

// hasUserinfo says whether an authority has a userinfo. Most text that calls the
// rule is URLs without one.
func hasUserinfo(authority []byte) bool {
	for _, c := range authority {
		switch c {
		case '@':
			return true
		case '/', ' ', '"', '\'', '<', '>', '\n', '`', '(', ')':
			return false
		}
	}
	return false
}

// validators check what an expression cannot.
var validators = map[string]func([]byte) bool{
	"bip32-private-key": func(b []byte) bool { return base58Check(b, 78) },
	"us-social-security-number": func(b []byte) bool {
		area := string(b[:3])
		return area != "000" && area != "666" && area < "900" && string(b[4:6]) != "00" && string(b) != "123-45-6789" && string(b) != "078-05-1120"
	},
}

// coins looks at a run of letters and digits for keys and account numbers that
// carry a checksum.
func (t *text) coins(from, to int) {
	run := t.buf[from:to]
	switch n := len(run); {
	case (n == 51 || n == 52) && bytes.IndexByte([]byte("5KLc9"), run[0]) >= 0 && (base58Check(run, 33) || base58Check(run, 34)):
		t.without(wifRule, from, to)
	case n >= minRun && n <= 34 && isIBAN(run):
		t.without(ibanRule, from, to)
	}
}

// without reports what a rule without keywords found.
func (t *text) without(id string, from, to int) {
	r := t.q.rules.byID[id]
	if r != nil && t.runsHere(r) && !r.harmless(t.q.rules.allow, t.buf, from, to, t.buf[from:to]) {
		t.report(r, from, to, t.buf[from:to])
	}
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58Check says whether b is size bytes and their checksum in base58.
func base58Check(b []byte, size int) bool {
	n, digit, radix := new(big.Int), new(big.Int), big.NewInt(58)
	for _, c := range b {
		i := bytes.IndexByte([]byte(base58), c)
		if i < 0 {
			return false
		}
		n.Add(n.Mul(n, radix), digit.SetInt64(int64(i)))
	}
	raw := n.Bytes()
	if len(raw) > size+4 {
		return false
	}
	raw = append(make([]byte, size+4-len(raw)), raw...)
	sum := doubleHash(raw[:size])
	return bytes.Equal(sum[:4], raw[size:])
}

func doubleHash(b []byte) [32]byte {
	sum := sha256.Sum256(b)
	return sha256.Sum256(sum[:])
}

// ibanLengths are the lengths of account numbers by country (ISO 13616).
var ibanLengths = map[string]int{"AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18,
	"EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21,
	"LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24,
	"SM": 27, "TR": 26, "UA": 29}

// sampleAccounts stand in documentation.
var sampleAccounts = []string{"DE89370400440532013000", "GB82WEST12345698765432", "GB33BUKB20201555555555", "FR1420041010050500013M02606",
	"GB29NWBK60161331926819", "NL91ABNA0417164300", "CH9300762011623852957", "ES9121000418450200051332", "AT611904300234573201",
	"BE68539007547034", "IT60X0542811101000000123456", "DE91100000000123456789", "FR7630006000011234567890189"}

func isIBAN(b []byte) bool {
	if len(b) < 15 || ibanLengths[string(b[:2])] != len(b) || !digitByte[b[2]] || !digitByte[b[3]] {
		return false
	}
	for _, s := range sampleAccounts {
		if s == string(b) {
			return false
		}
	}
	rest := 0
	for i := range b {
		switch c := b[(i+4)%len(b)]; {
		case c >= '0' && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}

// cards looks for card numbers in buf[at:limit].
func (t *text) cards(limit int) {
	buf := t.buf
	for i := t.at; i < limit; {
		if !digitByte[buf[i]] || i > 0 && (wordByte[buf[i-1]] || buf[i-1] == '.' || buf[i-1] == '-') {
			i++
			continue
		}
		var digits [20]byte
		n, end := 0, i
		for j := i; j < len(buf) && n < len(digits); j++ {
			if digitByte[buf[j]] {
				digits[n] = buf[j]
				n++
				end = j + 1
			} else if buf[j] != ' ' && buf[j] != '-' || j+1 < len(buf) && !digitByte[buf[j+1]] {
				break
			}
		}
		if (end == len(buf) || !wordByte[buf[end]]) && isCard(digits[:n]) {
			t.without(cardRule, i, end)
		}
		i = end
	}
}

var digitByte = set("09")

// testCards are given out by payment providers.
var testCards = []string{"4242424242424242", "4111111111111111", "4012888888881881", "4000056655665556", "5555555555554444",
	"5105105105105100", "5200828282828210", "2223003122003222", "378282246310005", "371449635398431", "6011111111111117",
	"6011000990139424", "6011981111111113", "3530111333300000", "3566002020360505", "30569309025904", "36227206271667", "38520000023237"}

// isCard says whether d is the number of a card that an issuer may have given.
func isCard(d []byte) bool {
	if len(d) < 14 || len(d) > 16 {
		return false
	}
	for _, s := range testCards {
		if s == string(d) {
			return false
		}
	}
	two, four := string(d[:2]), string(d[:4])
	switch {
	case d[0] == '4', two >= "51" && two <= "55", four >= "2221" && four <= "2720", four == "6011", two == "65", four >= "3528" && four <= "3589":
		return len(d) == 16 && luhn(d)
	case two == "34", two == "37":
		return len(d) == 15 && luhn(d)
	case two == "36", two == "38":
		return len(d) == 14 && luhn(d)
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i, c := range d {
		v := int(c - '0')
		if (len(d)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
