package gitgate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// object is one that a push brings.
type object struct {
	id   string
	kind string // blob, commit, tag or tree
	size int64
}

// objectHit is what was found in one.
type objectHit struct {
	hit
	object object
}

// Bounds of one push besides its size as it is sent.
const (
	maxObjects  = 1_000_000
	inflateMost = 8         // times the size of a push, of all its objects together
	minInflated = 256 << 20 // bytes that all may have together in any case
	maxTree     = 16 << 20  // bytes of a tree, commit or tag: git holds these whole
)

var errTooMany = fmt.Errorf("more than %d objects", maxObjects)

// pass is one look through the objects of a push.
type pass struct {
	s     *scanner
	paths func() map[string]string // by a blob's or tree's ID: a name that it has; once they are known
	skip  map[string]bool          // objects that are not looked at
	most  int64                    // bytes that all may have together

	mu      sync.Mutex
	objects int
	bytes   int64
	hits    []objectHit
	names   map[string]bool // that trees have, and were looked at; true: it is that of a .gitmodules
	named   int             // bytes of these, and of what holds them
	modules map[string]bool // blobs that a tree calls .gitmodules
	refused error           // more was found than is kept
}

const (
	maxFound = 100     // findings of one push; more are not told
	maxKept  = 10_000  // findings, and .gitmodules, of one push; more refuse it
	maxNames = 8 << 20 // bytes of names that are remembered
	nameRoom = 64      // bytes that one of these takes besides its own
)

// run looks through all objects of a pack, whether a ref leads to them or not.
// Those that are large, or made of such, one git reads for it: of that quarantine
// alone.
func (a *pass) run(ctx context.Context, pack *pack, g git) error {
	if err := a.again(pack.seen); err != nil {
		return err
	}
	large, err := pack.each(aside, func(o object, data []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := a.admit(o); err != nil {
			return err
		}
		if !a.skip[o.id] {
			a.object(o, data)
		}
		return nil
	})
	if err == nil && len(large) > 0 {
		err = a.ask(ctx, g, large)
	}
	if err == nil {
		err = a.refused
	}
	if err == nil && a.objects != len(pack.sorted) {
		return fmt.Errorf("%w: %d of its %d objects were found", errPack, a.objects, len(pack.sorted))
	}
	return err
}

// again counts what was seen already, and looks at its names.
func (a *pass) again(seen []object) error {
	clean := map[string]bool{}
	for _, o := range seen {
		if err := a.admit(o); err != nil {
			return err
		}
		if o.kind != "blob" {
			continue
		}
		name := a.paths()[o.id]
		if clean[name] {
			continue
		}
		h, found := a.s.name(name)
		if found {
			a.add(o, []hit{h})
		}
		clean[name] = !found
	}
	return nil
}

const aside = 1 << 20 // bytes of an object up to which it is read here

// ask has git read objects.
func (a *pass) ask(ctx context.Context, g git, ids []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &tail{max: 16 << 10}
	cmd := g.cmd(ctx, "cat-file", "--batch", "--buffer")
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(ids, "\n")+"\n"), said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := start(cmd); err != nil {
		return err
	}
	err = a.read(bufio.NewReaderSize(out, 1<<18))
	if err != nil {
		cancel() // what it would still say is not wanted
	}
	switch ended := cmd.Wait(); {
	case err != nil:
		return err
	case ended != nil:
		return fmt.Errorf("cannot read the objects: %w", &gitError{sub: "cat-file", said: said.String(), err: ended})
	}
	return nil
}

// read reads the objects as git writes them, up to the last.
func (a *pass) read(r *bufio.Reader) error {
	for {
		head, err := r.ReadString('\n')
		if err == io.EOF && head == "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the objects: %w", err)
		}
		o, err := parseObject(head)
		if err != nil {
			return err
		}
		if err := a.admit(o); err != nil {
			return err
		}
		switch {
		case a.skip[o.id]:
			_, err = io.CopyN(io.Discard, r, o.size)
		case o.kind == "blob":
			err = a.blob(o, r)
		default:
			data := make([]byte, o.size)
			if _, err = io.ReadFull(r, data); err == nil {
				a.object(o, data)
			}
		}
		if err == nil {
			_, err = r.Discard(1)
		}
		if err != nil {
			return fmt.Errorf("cannot read object %s: %w", short(o.id), err)
		}
	}
}

// parseObject reads the line before an object.
func parseObject(line string) (object, error) {
	f := strings.Fields(line)
	if len(f) == 3 && isID(f[0]) {
		if size, err := strconv.ParseInt(f[2], 10, 64); err == nil && size >= 0 {
			return object{f[0], f[1], size}, nil
		}
	}
	return object{}, fmt.Errorf("cannot read the objects: git says %q", strings.TrimSpace(line))
}

// admit counts an object, and refuses those that are too many or too large.
func (a *pass) admit(o object) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects++
	a.bytes += o.size
	switch {
	case a.objects > maxObjects:
		return refuse(wordPolicy, "%v", errTooMany)
	case o.kind != "blob" && o.size > maxTree:
		return refuse(wordPolicy, "%s %s has %d bytes, more than %d", o.kind, short(o.id), o.size, maxTree)
	case a.bytes > a.most:
		return refuse(wordPolicy, "its objects have more than %d bytes together", a.most)
	}
	return nil
}

// blob looks through a blob that is not held.
func (a *pass) blob(o object, r io.Reader) error {
	limited := &io.LimitedReader{R: r, N: o.size}
	hits, err := a.s.blob(a.paths()[o.id], o.size, limited)
	if err == nil { // what it was not interested in
		_, err = io.Copy(io.Discard, limited)
	}
	a.add(o, hits)
	return err
}

func (a *pass) add(o object, hits []hit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.hits)+len(hits) > maxKept {
		a.refused = refuse(wordPolicy, "more than %d findings: push less at a time", maxKept)
		return
	}
	for _, h := range hits {
		a.hits = append(a.hits, objectHit{h, o})
	}
}

// object looks through one that is held.
func (a *pass) object(o object, data []byte) { a.add(o, a.look(o, data)) }

func (a *pass) look(o object, data []byte) (hits []hit) {
	defer stumble(&hits)
	switch o.kind {
	case "blob":
		return a.s.held(a.paths()[o.id], data)
	case "tree":
		return a.tree(o, data)
	}
	hits = a.s.text("", data)
	// A signature, or another header of many lines, is indented.
	if joined := bytes.ReplaceAll(data, []byte("\n "), []byte("\n")); len(hits) == 0 && len(joined) != len(data) {
		hits = a.s.text("", joined)
	}
	if text := narrow(data); len(hits) == 0 && text != nil {
		hits = a.s.text("", text)
	}
	return hits
}

// tree looks through the names in a tree that no other tree has shown, and the
// IDs that are whatever their writer likes: those of submodules, and of modes that git
// takes for theirs.
func (a *pass) tree(o object, data []byte) (hits []hit) {
	var fresh [][]byte
	a.mu.Lock()
	err := eachEntry(data, len(o.id)/2, func(mode, name, id []byte) {
		modules, seen := a.names[string(name)]
		if !seen {
			modules = isGitmodules(string(name))
			a.remember(name, modules)
			fresh = append(fresh, name)
		}
		switch {
		case !modules:
		case len(a.modules) < maxKept:
			a.modules[hex.EncodeToString(id)] = true
		default:
			a.refused = refuse(wordPolicy, "more than %d .gitmodules: push less at a time", maxKept)
		}
		if kindOf(mode) == "" {
			fresh = append(fresh, id)
		}
	})
	a.mu.Unlock()
	if err != nil {
		hits = []hit{{rule: ruleUnscannable}}
	}
	if len(fresh) > 0 && len(hits) == 0 {
		hits = a.s.text("", bytes.Join(fresh, []byte("\n")))
		for i := range hits {
			hits[i].line = 0
		}
	}
	return hits
}

// remember notes a name that need not be looked at again.
func (a *pass) remember(name []byte, modules bool) {
	if room := len(name) + nameRoom; a.named+room <= maxNames {
		a.named += room
		a.names[string(name)] = modules
	}
}

var errTree = errors.New("it is no tree")

// eachEntry reads a tree as git keeps it.
func eachEntry(data []byte, idLength int, each func(mode, name, id []byte)) error {
	for len(data) > 0 {
		mode, rest, ok := bytes.Cut(data, []byte(" "))
		name, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(rest) < idLength {
			return errTree
		}
		each(mode, name, rest[:idLength])
		data = rest[idLength:]
	}
	return nil
}

// kindOf is of what kind an object is that a tree has with this mode; empty: it is in
// another repository, or the mode is none that git writes.
func kindOf(mode []byte) string {
	switch string(mode) {
	case "100644", "100755", "120000", "100664":
		return "blob"
	case "40000":
		return "tree"
	}
	return ""
}

// short is what people call an object by.
func short(id string) string { return id[:min(len(id), 10)] }
