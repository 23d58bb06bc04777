package manifest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a manifest, in bytes.
const maxFile = 1 << 20

// file is one manifest being read. Its methods make errors that name the line.
type file struct {
	name string // as errors tell it
	root *yaml.Node
	body string
}

const fence = "---"

// split parts a manifest into its front matter and the text below. Windows line
// ends and a byte order mark are as good as none.
func split(name string, data []byte) (*file, error) {
	f := &file{name: name}
	switch {
	case len(data) > maxFile:
		return nil, f.err(0, "it is larger than %d bytes", maxFile)
	case !utf8.Valid(data):
		return nil, f.err(0, "it is not UTF-8 text")
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\r\n", "\n")
	first, rest, _ := strings.Cut(text, "\n")
	if strings.TrimRight(first, " \t") != fence {
		return nil, f.err(1, `the first line must be "---", and then keys follow`)
	}
	var front strings.Builder
	for line := range strings.Lines(rest) {
		if strings.TrimRight(line, " \t\n") == fence {
			f.body = strings.TrimSpace(rest[front.Len()+len(line):])
			return f, f.parse(front.String())
		}
		front.WriteString(line)
	}
	return nil, f.err(1, `the front matter that begins here is not closed by a line "---"`)
}

// yamlLine finds the line that the YAML parser tells of in an error's text.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (f *file) parse(front string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(front), &doc); err != nil {
		text, line := err.Error(), 1
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = n + 1
			}
		}
		return f.err(line, "this is not YAML: %s", strings.ReplaceAll(text, "\n", " "))
	}
	if doc.Kind == yaml.DocumentNode {
		f.root = doc.Content[0]
		f.shift(f.root)
	}
	return nil
}

// shift makes line numbers those of the file: the fence is its first line.
func (f *file) shift(n *yaml.Node) {
	n.Line++
	for _, c := range n.Content {
		f.shift(c)
	}
}
