package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
)

// edit lets the operator change what is asked for. A Dockerfile is edited as it
// is, everything else as JSON.
func edit(ctx context.Context, c *cli.Call, p bottle.Proposal) (bottle.Proposal, error) {
	text, err := editable(p)
	if err != nil {
		return p, err
	}
	edited := p
	check := func(text []byte) error {
		edited = p
		if err := read(&edited, text); err != nil {
			return err
		}
		edited, err = proposal.Remake(edited)
		return err
	}
	_, err = operator.Edit(ctx, c.Streams, p.ID+".txt", text, check, func([]byte) error { return nil })
	return edited, err
}

func editable(p bottle.Proposal) ([]byte, error) {
	if p.Push != nil {
		return nil, cli.Error{Code: cli.Usage, Msg: "a push cannot be edited: it is what it is", Hint: "approve or reject it"}
	}
	if p.Capability != nil {
		return []byte(p.Capability.Dockerfile), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(operator.Payload(p))
	return b.Bytes(), err
}

// read puts an edited text into p, in the place of its payload.
func read(p *bottle.Proposal, text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	switch {
	case p.Capability != nil:
		p.Capability = &bottle.CapabilityAsk{Dockerfile: string(text)}
		return nil
	case p.Egress != nil:
		p.Egress = &bottle.EgressAsk{}
		return dec.Decode(p.Egress)
	case p.Exception != nil:
		p.Exception = &bottle.ExceptionAsk{}
		return dec.Decode(p.Exception)
	case p.Pipelock != nil:
		p.Pipelock = &bottle.PipelockAsk{}
		return dec.Decode(p.Pipelock)
	}
	return errors.New("it cannot be edited")
}
