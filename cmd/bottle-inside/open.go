package main

import (
	"bytes"
	"encoding/json"
	"io"

	"bottle/pkg/inside"
	"bottle/pkg/probe"
)

// maxDocuments bounds what open reads.
const maxDocuments = 8 << 20

// open is the end of a bring-up in one command, since every command costs the
// engine some 50 ms: it tries the walls for the targets it reads, says what came
// of it, and waits for the host's word what to start. Where a wall does not hold,
// or no word comes, nothing is started.
func open(_ []string, in io.Reader, out, errOut io.Writer) int {
	documents := json.NewDecoder(io.LimitReader(in, maxDocuments))
	next := func() io.Reader {
		var doc json.RawMessage
		if documents.Decode(&doc) != nil {
			return nil
		}
		return bytes.NewReader(doc)
	}
	targets := next()
	if targets == nil {
		return exitUsage
	}
	if code := probe.Main(nil, targets, out, errOut); code != 0 {
		return code
	}
	start := next()
	if start == nil {
		return exitUsage
	}
	return inside.Start(nil, start, out, errOut)
}
