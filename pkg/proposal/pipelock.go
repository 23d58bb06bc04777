package proposal

import (
	"errors"

	"bottle/pkg/bottle"
)

// pipelockBlock is an agent's request for a change of pipelock's file. There is
// no payload for it while no bottle runs pipelock: it is refused everywhere.
type pipelockBlock struct{}

var errNoPipelock = errors.New("this bottle runs no pipelock")

func (pipelockBlock) source() string                                   { return Supervise }
func (pipelockBlock) check(*bottle.Proposal) error                     { return errNoPipelock }
func (pipelockBlock) summary(*bottle.Proposal) string                  { return "a change of pipelock's file" }
func (pipelockBlock) approve(*Change, *bottle.Proposal, Context) error { return errNoPipelock }
func (pipelockBlock) reject(*Change, *bottle.Proposal)                 {}
