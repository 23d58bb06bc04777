package manifest

import (
	"regexp"
	"sync"

	"gopkg.in/yaml.v3"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
)

// agentFile is what agents/NAME.md says. Lines are for errors that only other
// files can give.
type agentFile struct {
	bottle     string
	bottleLine int
	program    agent.Program
	version    string
	skills     []skillLine
	remote     bool
	prompt     string
}

type skillLine struct {
	name string
	line int
}

var (
	exactVersion = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`) })
	skillName    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`) })
)

func parseAgent(name string, data []byte) (agentFile, error) {
	var a agentFile
	f, err := split(name, data)
	if err != nil {
		return a, err
	}
	a.prompt = f.body
	versionLine, remoteLine := 0, 0
	keys := map[string]key{}
	keys["remote_control"] = key{read: func(n *yaml.Node) (err error) {
		remoteLine = n.Line
		a.remote, err = f.truth(n, `"remote_control"`)
		return err
	}}
	keys["bottle"] = key{read: func(n *yaml.Node) (err error) {
		a.bottleLine = n.Line
		if a.bottle, err = f.text(n, `"bottle"`); err == nil && bottle.CheckName(a.bottle) != nil {
			return f.err(n.Line, `"bottle": %v`, bottle.CheckName(a.bottle))
		}
		return err
	}}
	keys["program"] = key{read: func(n *yaml.Node) (err error) { a.program, err = f.program(n); return err }}
	keys["version"] = key{read: func(n *yaml.Node) (err error) {
		versionLine = n.Line
		if a.version, err = f.scalar(n, `"version"`); err == nil && (len(a.version) > 64 || !exactVersion().MatchString(a.version)) {
			return f.err(n.Line, "version %q is not exact, as 1.2.3 is", a.version)
		}
		return err
	}}
	keys["skills"] = key{read: func(n *yaml.Node) (err error) { a.skills, err = f.skills(n); return err }}
	if err := f.mapping(f.root, "the front matter", keys); err != nil {
		return a, err
	}
	switch {
	case a.bottle == "":
		return a, f.err(1, `"bottle" is missing: the name of a policy`)
	case a.program.Name == "" && a.program.Command == nil:
		return a, f.err(1, `"program" is missing%s`, suggest("", agent.Names()))
	case a.remote && !a.program.MayBeRemote():
		return a, f.err(remoteLine, `"remote_control" is for program claude`)
	case a.version != "" && !fetched(a.program):
		return a, f.err(versionLine, `"version" is for programs that are fetched, which this one is not`)
	}
	a.program.Remote = a.remote
	return a, nil
}

// fetched says whether a program comes as a package, which has versions.
func fetched(p agent.Program) bool {
	a, err := agent.Lookup(p)
	if err != nil {
		return false
	}
	packages, err := a.Packages("amd64")
	return err == nil && len(packages) > 0
}

func (f *file) program(n *yaml.Node) (p agent.Program, err error) {
	if n.Kind == yaml.MappingNode {
		read := func(n *yaml.Node) error {
			return f.list(n, `"command"`, func(word *yaml.Node) error {
				w, err := f.scalar(word, "a word of the command")
				p.Command = append(p.Command, w)
				return err
			})
		}
		if err = f.mapping(n, `"program"`, map[string]key{"command": {read: read}}); err == nil && (len(p.Command) == 0 || p.Command[0] == "") {
			err = f.err(n.Line, `"command" must be a list of words, the program first`)
		}
		return p, err
	}
	if p.Name, err = f.text(n, `"program"`); err != nil {
		return p, err
	}
	if _, err := agent.Lookup(p); err != nil {
		return p, f.err(n.Line, "unknown program %q%s (or a command line: {command: [...]})", p.Name, suggest(p.Name, agent.Names()))
	}
	return p, nil
}

func (f *file) skills(n *yaml.Node) (skills []skillLine, err error) {
	seen := map[string]bool{}
	err = f.list(n, `"skills"`, func(item *yaml.Node) error {
		name, err := f.text(item, "a skill")
		switch {
		case err != nil:
			return err
		case !skillName().MatchString(name):
			return f.err(item.Line, "%q is not a skill's name: letters, digits, '.', '_' and '-'", name)
		case seen[name]:
			return f.err(item.Line, "skill %s is there already", name)
		}
		seen[name] = true
		skills = append(skills, skillLine{name, item.Line})
		return nil
	})
	return skills, err
}
