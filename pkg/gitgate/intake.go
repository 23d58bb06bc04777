package gitgate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// fsckRules are what git's check lets pass: old histories have it, and it does
// no harm. Everything else that it complains of refuses the pack.
const fsckRules = "missingSpaceBeforeDate=ignore,badTimezone=ignore,zeroPaddedFilemode=ignore,zeroPaddedDate=ignore,missingEmail=ignore"

// indexPack has git take a pack into the quarantine, whatever it is.
func (p *push) indexPack(ctx context.Context, pack io.Reader) error {
	return p.repo.git.in(p.quarantine).with(withoutSync...).run(ctx, pack, nil, "index-pack", "--stdin", "--fix-thin", "--strict="+fsckRules,
		fmt.Sprintf("--max-input-size=%d", p.conf.Push.MaxSize))
}

// follow takes a pack into the quarantine, and looks through it while it comes in.
// Where each object can be made here, and git finds no fault with commits, trees and
// tags, the index is written here, as git would write it, if there is an upstream:
// its git takes the whole pack apart before anything is kept. In any other case git
// takes the pack in, and it is git that refuses one.
func (p *push) follow(ctx context.Context, body io.Reader) error {
	checking, stop := context.WithCancel(ctx)
	checks, checking := errgroup.WithContext(checking)
	defer checks.Wait()
	defer stop()
	var check func(*io.PipeReader)
	if p.remote.Upstream != "" {
		check = func(pack *io.PipeReader) { checks.Go(func() error { return p.fsck(checking, pack) }) }
	}
	e := lookEarly(p.looked, p.repo.format, check)
	defer func() { p.seen = e.end() }()
	file, err := os.OpenFile(filepath.Join(p.quarantine, "pack", "incoming"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := &ended{sum: newHash(p.repo.format)}
	size, whole, err := p.store(ctx, io.MultiWriter(file, sum, e), e, body)
	if err != nil {
		return err
	}
	if !whole {
		stop()
		os.Remove(file.Name()) // its room is free when git has read it
		return p.indexPack(ctx, io.MultiReader(io.NewSectionReader(file, 0, size), io.TeeReader(body, e)))
	}
	if x := e.finish(); x != nil && sum.right() {
		err := p.takeIndexed(checking, file, x, checks)
		if err == nil {
			e.whole()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	stop()
	os.Remove(file.Name())
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.indexPack(ctx, file)
}

// store stores a pack until it is whole, or until git has to take it in.
func (p *push) store(ctx context.Context, to io.Writer, e *early, body io.Reader) (size int64, whole bool, err error) {
	buf := make([]byte, 32<<10)
	for !e.isLost() {
		n, err := body.Read(buf)
		if size += int64(n); size > p.conf.Push.MaxSize {
			return size, false, errIndex // which is said of it in any case
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return size, false, err
		}
		switch {
		case err == io.EOF:
			return size, true, nil
		case err != nil:
			return size, false, err
		case ctx.Err() != nil:
			return size, false, context.Cause(ctx)
		}
	}
	return size, false, nil
}

// takeIndexed gives a pack that is stored its index, once git has checked what it
// would have checked of it.
func (p *push) takeIndexed(ctx context.Context, file *os.File, x *index, checks *errgroup.Group) error {
	if err := x.checked.end(); err != nil {
		return err
	}
	var paths map[string]string
	checks.Go(func() error {
		elsewhere, err := x.elsewhere()
		switch {
		case err != nil:
			return err
		case len(elsewhere) > 0:
			return p.checkKinds(ctx, elsewhere)
		}
		paths = x.paths()
		return nil
	})
	pack, err := mapped(file)
	if err != nil {
		return err
	}
	defer unix.Munmap(pack)
	index, err := x.of(pack)
	if err := errors.Join(err, checks.Wait()); err != nil {
		return err
	}
	name := filepath.Join(p.quarantine, "pack", "pack-"+hex.EncodeToString(pack[len(pack)-idLength(x.format)/2:]))
	if err = os.WriteFile(name+".idx", index, 0o400); err == nil {
		err = os.Rename(file.Name(), name+".pack")
	}
	if err != nil {
		os.Remove(name + ".idx") // git leaves what is there
		return err
	}
	p.paths = paths
	return nil
}

// checkKinds checks that the repository has objects, of certain kinds.
func (p *push) checkKinds(ctx context.Context, kinds map[string]string) error {
	list, err := p.repo.git.out(ctx, strings.Join(slices.Collect(maps.Keys(kinds)), "\n")+"\n", "cat-file", "--batch-check=%(objectname) %(objecttype)", "--buffer")
	if err != nil {
		return err
	}
	found := 0
	for line := range strings.Lines(list) {
		id, kind, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if kinds[id] != kind {
			return errIndex
		}
		found++
	}
	if found != len(kinds) {
		return errIndex
	}
	return nil
}

// fsck has git check the commits, trees and tags of a pack, and what else it checks,
// in a place that goes again.
func (p *push) fsck(ctx context.Context, pack *io.PipeReader) error {
	defer pack.Close()
	place, err := p.repo.newQuarantine()
	if err != nil {
		return err
	}
	defer os.RemoveAll(place)
	said := &bounded{left: 1 << 10}
	err = p.repo.git.in(place).with(withoutSync...).run(ctx, pack, said, "index-pack", "--stdin", "--fsck-objects")
	if err == nil && strings.Count(said.buf.String(), "\n") > 1 { // a .gitmodules that it did not find
		return errIndex
	}
	return err
}
