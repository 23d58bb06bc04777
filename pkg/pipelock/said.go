package pipelock

import (
	"strings"

	"bottle/pkg/policy"
)

// What pipelock's refusals of a request begin with.
const (
	Blocked   = "blocked: "
	inBody    = Blocked + "request body contains secret: "
	inHeader  = Blocked + "request header contains secret"
	coreMatch = Blocked + "core DLP match: "
)

// maxPatterns bounds how many patterns one refusal may name.
const maxPatterns = 4

// Refusal is what a line says that pipelock refused.
type Refusal struct {
	// Patterns are the names of those that found something, and that an exception
	// can be made for. policy.CheckPattern
	Patterns []string
	// Final says that pipelock has no exception for it.
	Final bool
}

// ReadRefusal reads the first line of an answer. Who wrote it saw what the agent
// sent, and any upstream can write one: a name that is not plainly one is none.
func ReadRefusal(line string) Refusal {
	line = strings.TrimSuffix(line, "\r")
	if strings.HasPrefix(line, coreMatch) || line == inHeader {
		return Refusal{Final: true}
	}
	names, found := strings.CutPrefix(line, inBody)
	if !found {
		return Refusal{}
	}
	list := strings.Split(names, ", ")
	if len(list) > maxPatterns {
		return Refusal{}
	}
	for _, name := range list {
		if policy.CheckPattern(name) != nil {
			return Refusal{}
		}
	}
	return Refusal{Patterns: list}
}
