package lifecycle

import (
	"context"
	"os"
	"path/filepath"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/workspace"
)

// shareFolder lets the agent's user into the operator's folder, where that is
// mounted.
func (m *making) shareFolder(ctx context.Context) error {
	if m.spec.Workspace != WorkspaceMount {
		return nil
	}
	m.log.step("sharing %s", m.spec.Mount.Root)
	others, err := workspace.Share(ctx, m.spec.Mount.Root, plan.AgentUID, os.Getuid())
	if others > 0 {
		m.log.step("note: %d files there are not shared: they are another user's, or have a second name (hard links)", others)
	}
	return err
}

// unshare takes back what shareFolder gave, unless another bottle works there. A
// folder that it cannot change, or that is gone, keeps no bottle.
func (m *Manager) unshare(ctx context.Context, b bottle.Bottle, log *journal) {
	if b.Workspace != WorkspaceMount || b.Folder == "" {
		return
	}
	slugs, err := m.Home.Slugs()
	if err != nil {
		log.step("note: %s stays open to agents: %v", b.Folder, err)
		return
	}
	for _, slug := range slugs {
		other, err := m.Home.Bottle(slug)
		if slug != b.Slug && (err != nil || other.Workspace == WorkspaceMount && (within(b.Folder, other.Folder) || within(other.Folder, b.Folder))) {
			log.step("note: %s stays open to agents: %s may work there", b.Folder, slug)
			return
		}
	}
	closed, err := workspace.Unshare(ctx, b.Folder, plan.AgentUID, os.Getuid())
	if err != nil {
		log.step("note: %v", err)
	}
	if closed > 0 {
		log.step("note: %d directories there are closed to you: what is in them stays the agent's. As root: setfacl -R -P -x u:%d %s", closed, plan.AgentUID, b.Folder)
	}
}

// within says whether a path is below dir, or dir itself.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
