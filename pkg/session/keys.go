package session

import (
	"bytes"
	"fmt"
	"strings"
)

// DefaultDetachKeys is a sequence that no agent, editor or shell gives a
// meaning to, and that is under the same fingers on every keyboard.
const DefaultDetachKeys = "ctrl-q,ctrl-q"

// ParseKeys reads keys as docker writes them: single characters or ctrl-X,
// where X is a letter or one of @ [ \ ] ^ _, between commas. "none" is no keys.
func ParseKeys(text string) ([]byte, error) {
	if text == "none" {
		return nil, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		b, ok := parseKey(key)
		if !ok {
			return nil, fmt.Errorf(`cannot understand the key %q: write one character or ctrl-X, such as "ctrl-p,ctrl-q"`, key)
		}
		keys = append(keys, b)
	}
	return keys, nil
}

func parseKey(key string) (byte, bool) {
	if len(key) == 1 && key[0] > 0x20 && key[0] < 0x7f {
		return key[0], true
	}
	name, ok := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !ok || len(name) != 1 {
		return 0, false
	}
	switch c := name[0]; {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 1, true
	case strings.IndexByte(`@[\]^_`, c) >= 0:
		return c & 0x1f, true
	}
	return 0, false
}

// detector looks for the detach keys in what is typed. Keys that may be the
// beginning of them are held back until the next one tells.
type detector struct {
	keys []byte
	held int // so many of keys were typed
}

// feed returns what of typed is for the agent, and whether the detach keys were
// complete; what comes after them is dropped.
func (d *detector) feed(typed []byte) (pass []byte, detach bool) {
	if len(d.keys) == 0 {
		return typed, false
	}
	for _, b := range typed {
		seen := append(bytes.Clone(d.keys[:d.held]), b)
		start := 0
		for !bytes.HasPrefix(d.keys, seen[start:]) {
			start++
		}
		pass = append(pass, seen[:start]...)
		if d.held = len(seen) - start; d.held == len(d.keys) {
			return pass, true
		}
	}
	return pass, false
}
