package main

import (
	"bytes"
	"encoding/json"
	"io"

	"bottle/pkg/frame"
	"bottle/pkg/inside"
	"bottle/pkg/probe"
)

// maxAsked bounds what hold reads, in bytes.
const maxAsked = 8 << 20

// hold is the container's main process. Whoever started the container may ask it
// to try the walls and then to start the session, which saves the engine a
// command each; after that, and where nobody asks, it waits for the end.
func hold(args []string, in io.Reader, out, errOut io.Writer) int {
	inside.Begin()
	go converse(in, out)
	return inside.Hold(args, in, out, errOut)
}

// converse answers what the host asks, until the session was started, or the
// host is gone.
func converse(in io.Reader, out io.Writer) {
	asked, answers := json.NewDecoder(io.LimitReader(in, maxAsked)), json.NewEncoder(out)
	for {
		var ask frame.Ask
		if asked.Decode(&ask) != nil {
			return
		}
		var said bytes.Buffer
		code := answer(ask, out, &said)
		if answers.Encode(frame.Answer{Done: true, Code: code, Said: said.String()}) != nil || ask.Start != nil {
			return
		}
	}
}

func answer(ask frame.Ask, out, said io.Writer) int {
	if ask.Start == nil {
		return probe.Main(ask.Rows, bytes.NewReader(ask.Targets), out, said)
	}
	doc, err := json.Marshal(ask.Start)
	if err != nil {
		return exitUsage
	}
	return inside.Start(nil, bytes.NewReader(doc), out, said)
}
