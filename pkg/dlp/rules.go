package dlp

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./rulegen rules.jsonl testdata/examples.json.gz ruleids/ids.txt

//go:embed rules.jsonl
var table []byte

// Class is how sure a rule can be of what it finds.
type Class string

const (
	// Format: a key has a format of its own (a prefix, a checksum).
	Format Class = "format"
	// Service: a value of a service's shape, assigned to that service's name.
	Service Class = "service"
	// Generic: something assigned to a name such as token, that looks random.
	Generic Class = "generic"
)

// Everywhere is the ID of the table's row whose exceptions hold for all rules.
const Everywhere = "*"

// Rule is a row of the table. A rule is tried only where one of its keywords
// stands, on a window of the text around it.
type Rule struct {
	ID       string   `json:"id"`
	Class    Class    `json:"class,omitempty"`
	Regex    string   `json:"regex,omitempty"`
	Keywords []string `json:"keywords,omitempty"` // in lower case; found in any case
	Group    int      `json:"group,omitempty"`    // the secret's group; 0: the first that is not empty
	Entropy  float64  `json:"entropy,omitempty"`  // bits a character that a secret must exceed
	Path     string   `json:"path,omitempty"`     // only in files whose name matches; alone: such a file itself
	Allow    []Allow  `json:"allow,omitempty"`

	Word     bool     `json:"word,omitempty"`     // no character of a word may stand before it
	Anchored bool     `json:"anchored,omitempty"` // every match begins with a keyword
	Fronts   []string `json:"fronts,omitempty"`   // every match begins with one of these, case as it is
	Needs    []string `json:"needs,omitempty"`    // one of these stands in every match
	Reach    int      `json:"reach,omitempty"`    // bytes that a match has at most
	Assign   bool     `json:"assign,omitempty"`   // keyword, operator, value
	Least    int      `json:"least,omitempty"`    // characters that such a value has at least
	Mixed    bool     `json:"mixed,omitempty"`    // such a value holds more than letters
	Sessions bool     `json:"sessions,omitempty"` // may be in a credential header or a cookie
	Head     bool     `json:"head,omitempty"`     // of a service, and tried in a request's head all the same
	Weak     bool     `json:"weak,omitempty"`     // means nothing within a long run of base64
}

// Allow is an exception: what it matches is no secret. Regexes are tried on the
// secret, or on what Target names: match or line.
type Allow struct {
	Target  string   `json:"target,omitempty"`
	Regexes []string `json:"regexes,omitempty"`
	Words   []string `json:"words,omitempty"` // that a secret holds, in lower case
}

// Rules are a table of rules, made ready. It may be used by many at once; an
// expression is compiled when it is first needed.
type Rules struct {
	list  []*rule
	allow []*allow // for all rules
	words *automaton
	// byWord are the rules that a keyword calls; the indices are the automaton's.
	byWord [][]*rule
	// files are the rules about a file's name alone.
	files []*rule
	byID  map[string]*rule
}

// Load reads a table: a Rule as JSON in each line.
func Load(table []byte) (*Rules, error) {
	var rows []Rule
	lines := bufio.NewScanner(bytes.NewReader(table))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var r Rule
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("cannot read line %d of the table: %w", n, err)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the table: %w", err)
	}
	return compile(rows)
}

// Default returns gitleaks' rules, as rulegen translated them, and our own.
var Default = sync.OnceValue(func() *Rules {
	r, err := Load(table)
	if err != nil {
		panic(err) // the table is part of the program, and tested
	}
	return r
})

// compile makes rows ready and adds our own rules.
func compile(rows []Rule) (*Rules, error) {
	rs := &Rules{byID: map[string]*rule{}}
	index := map[string]int{}
	var words []string
	for _, row := range append(rows, own...) {
		r := &rule{Rule: row}
		if row.ID == Everywhere {
			rs.allow = allowsOf(row.Allow)
			continue
		}
		r.allow = allowsOf(row.Allow)
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("rule %s: %w", row.ID, err)
		}
		r.index = len(rs.list)
		rs.list = append(rs.list, r)
		rs.byID[r.ID] = r
		if r.Regex == "" && r.Path != "" {
			rs.files = append(rs.files, r)
		}
		for _, k := range row.Keywords {
			i, ok := index[k]
			if !ok {
				i = len(words)
				index[k] = i
				words = append(words, k)
				rs.byWord = append(rs.byWord, nil)
			}
			rs.byWord[i] = append(rs.byWord[i], r)
		}
	}
	rs.words = newAutomaton(words, foldCase)
	return rs, nil
}

// fileRule returns the rule that no file of this name may pass, or nil.
func (rs *Rules) fileRule(name string) *rule {
	for _, r := range rs.files {
		if r.Needs != nil && !slices.ContainsFunc(r.Needs, func(n string) bool { return strings.Contains(name, n) }) {
			continue
		}
		if r.compile(); r.path.MatchString(name) {
			return r
		}
	}
	return nil
}

// IDs returns the IDs of all rules, in the table's order, each once.
func (rs *Rules) IDs() []string {
	var ids []string
	seen := map[string]bool{}
	for _, r := range rs.list {
		if !seen[r.ID] {
			seen[r.ID] = true
			ids = append(ids, r.ID)
		}
	}
	return ids
}
