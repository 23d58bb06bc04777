package agent

// shell is a bash for the operator: a bottle without a coding agent in it.
type shell struct{}

func (shell) Name() string                         { return "shell" }
func (shell) Package(string) (Package, error)      { return Package{}, nil }
func (shell) Steps() []string                      { return nil }
func (shell) Argv(Start) []string                  { return []string{"/bin/bash"} }
func (shell) HomeFiles(Start) map[string][]byte    { return nil }
func (shell) Env() map[string]string               { return map[string]string{"SHELL": "/bin/bash"} }
func (shell) Hosts() []Host                        { return nil }
func (shell) Keys() []string                       { return nil }
func (shell) Placeholder(string) map[string]string { return nil }
func (shell) SkillsDir() string                    { return plainSkills }
