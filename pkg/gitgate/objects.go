package gitgate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
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

// list returns the objects of a quarantine that the repository has not yet.
func (p *push) list(ctx context.Context) (fresh []object, err error) {
	all, err := p.repo.git.only(p.quarantine).out(ctx, "", "cat-file", "--batch-all-objects", "--unordered", "--buffer",
		"--batch-check=%(objectname) %(objecttype) %(objectsize)")
	if errors.Is(err, errTooLong) {
		return nil, errTooMany
	}
	if err != nil {
		return nil, err
	}
	var ids strings.Builder
	var objects []object
	for line := range strings.Lines(all) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("cannot read git's list of objects: %q", line)
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read git's list of objects: %w", err)
		}
		objects = append(objects, object{f[0], f[1], size})
		ids.WriteString(f[0] + "\n")
	}
	if len(objects) > maxObjects {
		return nil, errTooMany
	}
	had, err := p.repo.git.out(ctx, ids.String(), "cat-file", "--batch-check", "--buffer")
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	for line := range strings.Lines(had) {
		if id, ok := strings.CutSuffix(line, " missing\n"); ok {
			missing[id] = true
		}
	}
	var total int64
	for _, o := range objects {
		if !missing[o.id] {
			continue
		}
		if o.kind != "blob" && o.size > maxTree {
			return nil, fmt.Errorf("%s %s has %d bytes, more than %d", o.kind, short(o.id), o.size, maxTree)
		}
		if total += o.size; total > max(minInflated, inflateMost*p.conf.Push.MaxSize) {
			return nil, fmt.Errorf("its objects have more than %d bytes together", total)
		}
		fresh = append(fresh, o)
	}
	return fresh, nil
}

// pass is one look through the objects of a push.
type pass struct {
	s     *scanner
	paths map[string]string // by a blob's or tree's ID: a name that it has

	mu      sync.Mutex
	hits    []objectHit
	names   map[string]bool // that trees have, and were looked at
	modules map[string]bool // blobs that a tree calls .gitmodules
	bytes   int64
}

const maxFound = 100 // findings of one push; more are not told

func (s *scanner) newPass(paths map[string]string) *pass {
	return &pass{s: s, paths: paths, names: map[string]bool{}, modules: map[string]bool{}}
}

// run looks through objects, which one git reads for it.
func (a *pass) run(ctx context.Context, g git, objects []object) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ids, feed := io.Pipe()
	go func() {
		w := bufio.NewWriter(feed)
		for _, o := range objects {
			w.WriteString(o.id + "\n")
		}
		w.Flush()
		feed.Close()
	}()
	defer ids.Close()
	cmd := g.cmd(ctx, "cat-file", "--batch", "--buffer")
	cmd.Stdin = ids
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := start(cmd); err != nil {
		return err
	}
	err = a.read(bufio.NewReaderSize(out, 1<<18), objects)
	cancel() // it has answered everything, or is not wanted any more
	ids.Close()
	cmd.Wait()
	return err
}

// task is an object that is small enough to be handed to another goroutine.
type task struct {
	object
	data []byte
}

const aside = 1 << 20 // bytes of an object up to which it is handed on

// read reads the objects as git writes them, in the order that was asked for.
func (a *pass) read(r *bufio.Reader, objects []object) error {
	tasks := make(chan task, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for t := range tasks {
				a.object(t.object, t.data)
			}
		})
	}
	defer workers.Wait()
	defer close(tasks)
	for _, o := range objects {
		head, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("cannot read object %s: %w", short(o.id), err)
		}
		if head != fmt.Sprintf("%s %s %d\n", o.id, o.kind, o.size) {
			return fmt.Errorf("cannot read object %s: git says %q", short(o.id), strings.TrimSpace(head))
		}
		if o.kind == "blob" && o.size > aside {
			limited := &io.LimitedReader{R: r, N: o.size}
			hits, err := a.s.blob(a.name(o.id), o.size, limited)
			if err == nil { // what it was not interested in
				_, err = io.Copy(io.Discard, limited)
			}
			if err != nil {
				return fmt.Errorf("cannot read object %s: %w", short(o.id), err)
			}
			a.add(o, hits)
		} else {
			data := make([]byte, o.size)
			if _, err := io.ReadFull(r, data); err != nil {
				return fmt.Errorf("cannot read object %s: %w", short(o.id), err)
			}
			tasks <- task{o, data}
		}
		if _, err := r.Discard(1); err != nil {
			return fmt.Errorf("cannot read object %s: %w", short(o.id), err)
		}
	}
	return nil
}

func (a *pass) name(id string) string { return a.paths[id] }

func (a *pass) add(o object, hits []hit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes += o.size
	for _, h := range hits {
		a.hits = append(a.hits, objectHit{h, o})
	}
}

// object looks through one that is held.
func (a *pass) object(o object, data []byte) {
	switch o.kind {
	case "blob":
		hits, _ := a.s.blob(a.name(o.id), o.size, bytes.NewReader(data)) // reading memory does not fail
		a.add(o, hits)
	case "tree":
		a.tree(o, data)
	default:
		hits := a.s.text("", data)
		// A signature, or another header of many lines, is indented.
		if joined := bytes.ReplaceAll(data, []byte("\n "), []byte("\n")); len(hits) == 0 && len(joined) != len(data) {
			hits = a.s.text("", joined)
		}
		if text := narrow(data); len(hits) == 0 && text != nil {
			hits = a.s.text("", text)
		}
		a.add(o, hits)
	}
}

// tree looks through the names in a tree that no other tree has shown, and the
// IDs of submodules, which are whatever their writer likes.
func (a *pass) tree(o object, data []byte) {
	var fresh [][]byte
	a.mu.Lock()
	err := eachEntry(data, len(o.id)/2, func(mode, name, id []byte) {
		if isGitmodules(string(name)) {
			a.modules[hex.EncodeToString(id)] = true
		}
		if string(mode) == "160000" {
			fresh = append(fresh, id)
		}
		if !a.names[string(name)] {
			a.names[string(name)] = true
			fresh = append(fresh, name)
		}
	})
	a.mu.Unlock()
	var hits []hit
	if err != nil {
		hits = []hit{{rule: ruleUnscannable}}
	}
	if len(fresh) > 0 && len(hits) == 0 {
		hits = a.s.text("", bytes.Join(fresh, []byte("\n")))
		for i := range hits {
			hits[i].line = 0
		}
	}
	a.add(o, hits)
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

// short is what people call an object by.
func short(id string) string { return id[:min(len(id), 10)] }
