package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bottle/pkg/bottle"
)

// Folders of a home.
const (
	agentsDir  = "agents"
	bottlesDir = "bottles"
	skillsDir  = "skills"
	extension  = ".md"
)

// AgentInfo is an agent that can be started.
type AgentInfo struct {
	Name    string
	Bottle  string
	Program string // claude, shell or command
	File    string // absolute
}

// Load reads the agent's manifest and its bottle's below home. Its errors are
// *Error for mistakes in a file, and wrap ErrNoAgent where there is no such
// agent.
func Load(home, agentName string) (Manifest, error) {
	m := Manifest{Agent: agentName}
	if err := bottle.CheckName(agentName); err != nil {
		if best, ok := nearest(agentName, names(home, agentsDir)); ok {
			return m, fmt.Errorf("%w as %q; did you mean %q?", ErrNoAgent, agentName, best)
		}
		return m, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	data, err := read(home, agentsDir, agentName)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w as %q%s", ErrNoAgent, agentName, suggest(agentName, names(home, agentsDir)))
	}
	if err != nil {
		return m, err
	}
	a, err := parseAgent(relative(agentsDir, agentName), data)
	if err != nil {
		return m, err
	}
	m.BottleName, m.Program, m.Version, m.Prompt = a.bottle, a.program, a.version, a.prompt
	m.AgentFile = filepath.Join(home, relative(agentsDir, agentName))
	if m.Skills, err = findSkills(home, relative(agentsDir, agentName), a.skills); err != nil {
		return m, err
	}
	if own := filepath.Join(home, agentsDir, agentName+".Dockerfile"); regular(own) {
		m.Dockerfile = own
	}
	return m, m.loadBottle(home, a.bottleLine)
}

func (m *Manifest) loadBottle(home string, line int) error {
	data, err := read(home, bottlesDir, m.BottleName)
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{File: relative(agentsDir, m.Agent), Line: line,
			Msg: fmt.Sprintf("there is no bottle %q, no file %s%s", m.BottleName, relative(bottlesDir, m.BottleName),
				suggest(m.BottleName, names(home, bottlesDir)))}
	}
	if err != nil {
		return err
	}
	p, err := parseBottle(relative(bottlesDir, m.BottleName), data)
	if err != nil {
		return err
	}
	m.Env, m.Routes, m.Credentials, m.Runtime, m.Supervise, m.Warnings = p.env, p.routes, p.credentials, p.runtime, p.supervise, p.warnings
	m.Model, m.MaxBody, m.AskTimeout, m.Git, m.Pipelock = p.model, p.maxBody, p.askTimeout, p.git, p.pipelock
	m.BottleFile = filepath.Join(home, relative(bottlesDir, m.BottleName))
	return nil
}

// Agents returns the agents that can be started, sorted by name, and why the
// others cannot.
func Agents(home string) ([]AgentInfo, []error) {
	var agents []AgentInfo
	broken := misnamed(home, agentsDir)
	for _, name := range names(home, agentsDir) {
		m, err := Load(home, name)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		program := m.Program.Name
		if program == "" {
			program = "command"
		}
		agents = append(agents, AgentInfo{Name: name, Bottle: m.BottleName, Program: program, File: m.AgentFile})
	}
	return agents, broken
}

// names are those of the manifests in a folder, good or bad.
func names(home, dir string) []string {
	entries, err := os.ReadDir(filepath.Join(home, dir))
	if err != nil {
		return nil // not there, or not ours to read: then nothing can be started
	}
	var found []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), extension)
		if ok && bottle.CheckName(name) == nil {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// misnamed are the manifests in a folder whose names nothing can have. A README
// is none.
func misnamed(home, dir string) []error {
	entries, err := os.ReadDir(filepath.Join(home, dir))
	if err != nil {
		return nil
	}
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), extension)
		if err := bottle.CheckName(name); ok && err != nil && name != "README" {
			errs = append(errs, &Error{File: relative(dir, name), Msg: err.Error()})
		}
	}
	return errs
}

func relative(dir, name string) string { return dir + "/" + name + extension }

func regular(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// read reads a manifest. Links are the operator's business: he keeps his
// manifests where he likes. It must not wait on a FIFO, though.
func read(home, dir, name string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(home, dir, name+extension), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", relative(dir, name), err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, &Error{File: relative(dir, name), Msg: "it is not a regular file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", relative(dir, name), err)
	}
	return data, nil
}
