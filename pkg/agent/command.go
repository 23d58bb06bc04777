package agent

import (
	"io"
	"slices"
)

// command is any command line of the operator's. It finds the prompt in the
// file that Start names, if it wants it.
type command []string

// plainSkills is where skills go for a program that bottle knows nothing of.
const plainSkills = "skills"

func (command) Name() string                              { return "command" }
func (command) Packages(string) ([]Package, error)        { return nil, nil }
func (command) Steps() []string                           { return nil }
func (c command) Session(s Start) Session                 { return Session{Argv: slices.Clone(c), Typed: s.Task} }
func (command) Files(Start) Files                         { return Files{} }
func (command) Hooks() bool                               { return false }
func (command) Env() map[string]string                    { return map[string]string{"SHELL": "/bin/bash"} }
func (command) Hosts() []Host                             { return nil }
func (command) Keys() []string                            { return nil }
func (command) Placeholder(_, _ string) map[string]string { return nil }
func (command) SkillsDir() string                         { return plainSkills }
func (command) Conversations() string                     { return "" }
func (command) Transcript(io.Reader, io.Writer) error     { return nil }
