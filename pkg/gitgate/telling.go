package gitgate

import (
	"fmt"
	"io"
	"strconv"
)

// telling passes on what upload-pack answers, and puts a note before a pack that
// the person behind the client sees.
type telling struct {
	w     io.Writer
	flush func() error
	note  string
	n     int64
	packs bool // a pack was sent

	head []byte // of the packet that is being read
	left int    // bytes of it that are still to come
	text []byte // its beginning
}

const packfile = "packfile\n"

func (t *telling) Write(p []byte) (int, error) {
	for rest := p; !t.packs && len(rest) > 0; {
		rest = t.read(rest)
		if t.packs && t.note != "" {
			at := len(p) - len(rest)
			if err := t.send(p[:at]); err != nil {
				return 0, err
			}
			if err := t.send(fmt.Appendf(nil, "%04x\x02%s", len(t.note)+5, t.note)); err != nil {
				return 0, err
			}
			if err := t.send(p[at:]); err != nil {
				return 0, err
			}
			return len(p), t.flush()
		}
	}
	if err := t.send(p); err != nil {
		return 0, err
	}
	return len(p), t.flush()
}

func (t *telling) send(p []byte) error {
	n, err := t.w.Write(p)
	t.n += int64(n)
	return err
}

// read follows the packets up to the one that says that a pack comes, and
// returns what is behind what it has read.
func (t *telling) read(p []byte) []byte {
	if t.left == 0 {
		n := min(4-len(t.head), len(p))
		t.head, p = append(t.head, p[:n]...), p[n:]
		if len(t.head) < 4 {
			return p
		}
		size, err := strconv.ParseUint(string(t.head), 16, 16)
		t.head, t.text = t.head[:0], t.text[:0]
		switch {
		case err != nil: // not packets: an older protocol's pack
			t.packs, t.note = true, ""
			return p
		case size > 4:
			t.left = int(size) - 4
		}
		return p
	}
	n := min(t.left, len(p))
	if t.text = append(t.text, p[:min(n, len(packfile)+1)]...); len(t.text) > len(packfile)+1 {
		t.text = t.text[:len(packfile)+1]
	}
	if t.left -= n; t.left == 0 && string(t.text) == packfile {
		t.packs = true
	}
	return p[n:]
}
