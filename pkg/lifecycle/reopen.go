package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"

	"bottle/pkg/agent"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/session"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

const maxSession = 1 << 20

// agentStart is what the agent must know of its bottle and its first session.
func agentStart(s Spec) agent.Start {
	start := agent.Start{WorkDir: plan.WorkDir, InDir: plan.AgentIn, Inside: plan.InsideBin, Task: s.Task}
	if s.Manifest.Prompt != "" {
		start.Prompt, start.PromptFile = s.Manifest.Prompt, plan.AgentIn+"/prompt.md"
	}
	if s.Manifest.Supervise {
		start.Supervise = plan.SuperviseURL()
	}
	p, err := Policy(s)
	if err != nil {
		return start // it was computed before, and then nothing came this far
	}
	for _, r := range p.Routes {
		if isOwn(s.Agent, r) {
			start.Hosts = append(start.Hosts, r.Host)
		}
	}
	return start
}

// firstSession is how a bottle's first session is started, without its secrets.
// subdir is where in the workspace.
func firstSession(s Spec, subdir string) frame.Start {
	run := s.Agent.Session(agentStart(s))
	return frame.Start{Argv: run.Argv, Continue: run.Continue, Typed: run.Typed, Terminal: !s.Agent.Hooks(),
		Dir: filepath.Join(plan.WorkDir, subdir), Env: placeholders(s)}
}

// withSecrets is a session's start with what no file may have.
func withSecrets(doc frame.Start, secrets map[string]string) frame.Start {
	doc.Env = maps.Clone(doc.Env)
	if doc.Env == nil {
		doc.Env = map[string]string{}
	}
	maps.Copy(doc.Env, secrets)
	return doc
}

// saveSession records how a bottle's sessions are started: those that come later
// in its life, which do not have the first one's task.
func (m *Manager) saveSession(slug string, s Spec, subdir string) error {
	s.Task = ""
	data, err := json.MarshalIndent(firstSession(s, subdir), "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the session of %s: %w", slug, err)
	}
	return spool.WriteFile(filepath.Join(m.Home.StateDir(slug), state.SessionFile), append(data, '\n'), 0o600)
}

// NextSession is how a bottle's session is started again after one that ended:
// the last conversation goes on where there is one. secrets are the values for
// its environment. It reads what was recorded when the bottle was made; where
// that is lost, what the program is called is enough, without the prompt.
func (m *Manager) NextSession(slug string, secrets map[string]string) (frame.Start, error) {
	var doc frame.Start
	data, err := spool.ReadFile(m.Home.StateDir(slug), state.SessionFile, maxSession)
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil || len(doc.Argv) == 0 {
		if doc, err = m.guessSession(slug); err != nil {
			return doc, err
		}
	}
	doc.Resume = true
	return withSecrets(doc, secrets), nil
}

// guessSession is a start for a bottle of which no record can be read.
func (m *Manager) guessSession(slug string) (frame.Start, error) {
	b, err := m.Home.Bottle(slug)
	if err != nil {
		return frame.Start{}, err
	}
	a, err := agent.Lookup(agent.Program{Name: b.Program})
	if err != nil {
		return frame.Start{}, fmt.Errorf("cannot tell how the session of %s was started: %w", slug, err)
	}
	return firstSession(Spec{Agent: a}, ""), nil
}

// Reopen starts a session in a bottle whose agent's container runs, and whose
// last session has ended. The error is session.ErrLives where one lives.
func (m *Manager) Reopen(ctx context.Context, slug string, secrets map[string]string) error {
	doc, err := m.NextSession(slug, secrets)
	if err != nil {
		return err
	}
	return session.Start(ctx, m.Engine, plan.ContainerName(slug, plan.AgentService), doc)
}
