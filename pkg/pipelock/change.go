package pipelock

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxFile is how many bytes a file has at most.
const MaxFile = 1 << 20

const listKey = "api_allowlist"

// Check says whether a file may be given to pipelock's own check: one document,
// in which the mode enforces the list.
func Check(text []byte) error {
	d, err := read(text)
	if err != nil {
		return err
	}
	if mode := d.value("mode"); mode == nil || mode.Value != "strict" {
		return errors.New(`"mode" must be strict: in any other, pipelock does not keep to its list`)
	}
	if enforce := d.value("enforce"); enforce != nil && enforce.Value != "true" {
		return errors.New(`"enforce" must be true`)
	}
	if len(d.list().Content) == 0 {
		return errors.New(`"api_allowlist" must hold a host`)
	}
	return nil
}

// Listed are the hosts that a file's list holds, in its order.
func Listed(text []byte) ([]string, error) {
	d, err := read(text)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, n := range d.list().Content {
		hosts = append(hosts, n.Value)
	}
	return hosts, nil
}

// Delta is how a file is to be changed.
type Delta struct {
	Open, Close []string // hosts of its list
	Except      []Exception
	Ended       []string // IDs of exceptions that hold no more
}

// Empty says whether nothing is to be changed.
func (w *Delta) Empty() bool { return !w.Widens() && len(w.Close)+len(w.Ended) == 0 }

// Widens says whether pipelock is to let more through.
func (w *Delta) Widens() bool { return len(w.Open)+len(w.Except) > 0 }

// Change makes a file's list and exceptions so, as they stand. What is there
// already, or is not, changes nothing: then it returns the same text.
func Change(text []byte, w Delta) ([]byte, error) {
	d, err := read(text)
	if err != nil {
		return nil, err
	}
	listed, err := d.changeList(w.Open, w.Close)
	if err != nil {
		return nil, err
	}
	excepted, err := d.except(w.Except, w.Ended)
	if err != nil {
		return nil, err
	}
	if !listed && !excepted {
		return text, nil
	}
	return d.text()
}

// changeList adds hosts to the list, and takes others off.
func (d *document) changeList(add, remove []string) (changed bool, err error) {
	list := d.list()
	for _, host := range add {
		if !Holds(host) {
			return false, fmt.Errorf("pipelock's list cannot hold %q", host)
		}
		if at(list, host) < 0 {
			list.Content = append(list.Content, word(host))
			changed = true
		}
	}
	for _, host := range remove {
		if i := at(list, host); i >= 0 {
			list.Content = append(list.Content[:i:i], list.Content[i+1:]...)
			changed = true
		}
	}
	if len(list.Content) == 0 {
		list.Content = append(list.Content, word(nobody))
	}
	return changed, nil
}

func word(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// at is where a host stands in a list; -1: nowhere.
func at(list *yaml.Node, host string) int {
	for i, n := range list.Content {
		if strings.EqualFold(n.Value, host) {
			return i
		}
	}
	return -1
}

// document is a file as YAML's nodes.
type document struct{ root yaml.Node }

// read reads a file: one mapping without aliases, whose list is a list of words.
func read(text []byte) (*document, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("the file has more than %d bytes", MaxFile)
	}
	d := &document{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&d.root); err != nil {
		return nil, fmt.Errorf("the file is no YAML: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, errors.New("the file has more than one document")
	}
	if len(d.root.Content) != 1 || d.root.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the file must be keys and values")
	}
	seen := map[string]bool{}
	for i := 0; i < len(d.top().Content); i += 2 {
		k := d.top().Content[i]
		if seen[k.Value] {
			return nil, fmt.Errorf("line %d: %q is there twice", k.Line, k.Value)
		}
		seen[k.Value] = true
	}
	if err := checkExceptions(d.value(exceptKey)); err != nil {
		return nil, err
	}
	list := d.value(listKey)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%q must be there, and be a list of hosts", listKey)
	}
	for _, n := range list.Content {
		if n.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a host of %q must be a word", n.Line, listKey)
		}
	}
	return d, nil
}

func (d *document) top() *yaml.Node { return d.root.Content[0] }

func (d *document) list() *yaml.Node { return d.value(listKey) }

// value is what stands behind a key of the file; nil: it has none.
func (d *document) value(key string) *yaml.Node {
	top := d.top()
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == key {
			return top.Content[i+1]
		}
	}
	return nil
}

func (d *document) text() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&d.root); err != nil {
		return nil, fmt.Errorf("cannot render pipelock's file: %w", err)
	}
	return b.Bytes(), nil
}
