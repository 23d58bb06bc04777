package agent

import "io"

// shell is a bash for the operator: a bottle without a coding agent in it.
type shell struct{}

func (shell) Name() string                              { return "shell" }
func (shell) Packages(string) ([]Package, error)        { return nil, nil }
func (shell) Steps() []string                           { return nil }
func (shell) Session(s Start) Session                   { return Session{Argv: []string{"/bin/bash"}, Typed: s.Task} }
func (shell) Files(Start) Files                         { return Files{} }
func (shell) Hooks() bool                               { return false }
func (shell) Env() map[string]string                    { return map[string]string{"SHELL": "/bin/bash"} }
func (shell) Hosts() []Host                             { return nil }
func (shell) Keys() []string                            { return nil }
func (shell) Placeholder(_, _ string) map[string]string { return nil }
func (shell) SkillsDir() string                         { return plainSkills }
func (shell) Conversations() string                     { return "" }
func (shell) Transcript(io.Reader, io.Writer) error     { return nil }
