package lifecycle

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"

	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

const maxSession = 1 << 20

// firstSession is how a bottle's first session is started, without its secrets.
// subdir is where in the workspace.
func firstSession(s Spec, subdir string) frame.Start {
	return frame.Start{Argv: s.Agent.Argv(agentStart(s)), Dir: filepath.Join(plan.WorkDir, subdir), Env: placeholders(s)}
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

// saveSession records how a bottle's sessions are started: for those that come
// later in its life.
func (m *Manager) saveSession(slug string, doc frame.Start) error {
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the session of %s: %w", slug, err)
	}
	return spool.WriteFile(filepath.Join(m.Home.StateDir(slug), state.SessionFile), append(data, '\n'), 0o600)
}

// NextSession is how a bottle's session is started again after one that ended:
// the last conversation goes on where there is one. secrets are the values for
// its environment.
func (m *Manager) NextSession(slug string, secrets map[string]string) (frame.Start, error) {
	var doc frame.Start
	data, err := spool.ReadFile(m.Home.StateDir(slug), state.SessionFile, maxSession)
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err == nil && len(doc.Argv) == 0 {
		err = fmt.Errorf("it names no program")
	}
	if err != nil {
		return doc, fmt.Errorf("cannot tell how the session of %s was started: %w", slug, err)
	}
	doc.Resume = true
	return withSecrets(doc, secrets), nil
}
