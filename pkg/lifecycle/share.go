package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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

// standsAlone refuses to mount a folder that is in another bottle's, or has one
// in it: the outer agent could put a symlink in the place of the inner folder,
// and the engine would mount what that leads to. It is asked when this bottle is
// recorded, so that of two at once one sees the other.
func (u *bringUp) standsAlone() error {
	if u.spec.Workspace != WorkspaceMount {
		return nil
	}
	return u.others(u.bottle, func(other bottle.Bottle, err error) error {
		if err == nil && other.Folder != u.bottle.Folder {
			return fmt.Errorf("cannot mount %s: %s works in %s: %w", u.bottle.Folder, other.Slug, other.Folder, ErrNested)
		}
		return nil
	})
}

// others calls do for the bottles that may work where b does, above or below it.
// The error that do is given is of one that cannot be read.
func (m *Manager) others(b bottle.Bottle, do func(other bottle.Bottle, err error) error) error {
	slugs, err := m.Home.Slugs()
	if err != nil {
		return err
	}
	for _, slug := range slugs {
		if slug == b.Slug {
			continue
		}
		other, err := m.Home.Bottle(slug)
		if err != nil {
			other.Slug = slug
		} else if other.Workspace != WorkspaceMount || !within(b.Folder, other.Folder) && !within(other.Folder, b.Folder) {
			continue
		}
		if err := do(other, err); err != nil {
			return err
		}
	}
	return nil
}

// unshare takes back what shareFolder gave, unless another bottle works there. A
// folder that it cannot change, or that is gone, keeps no bottle: the notes say
// what the operator should know of it.
func (m *Manager) unshare(ctx context.Context, b bottle.Bottle, log *journal) (notes []string) {
	if b.Workspace != WorkspaceMount || b.Folder == "" {
		return nil
	}
	defer func() {
		for _, note := range notes {
			log.step("note: %s", note)
		}
	}()
	notes = m.planted(ctx, b)
	err := m.others(b, func(other bottle.Bottle, _ error) error { return fmt.Errorf("%s may work there", other.Slug) })
	if err != nil {
		return append(notes, fmt.Sprintf("%s stays open to agents: %v", b.Folder, err))
	}
	closed, err := workspace.Unshare(ctx, b.Folder, plan.AgentUID, os.Getuid())
	if err != nil {
		notes = append(notes, err.Error())
	}
	if closed > 0 {
		notes = append(notes, fmt.Sprintf("%d directories in %s are closed to you: what is in them stays the agent's. As root: setfacl -R -P -x u:%d %[2]s", closed, b.Folder, plan.AgentUID))
	}
	return notes
}

// maxPlaces is how many places are named; more are counted.
const maxPlaces = 5

// planted tells of repositories that the agent made in the operator's folder: his
// git, or a prompt that asks it, would run what is configured there.
func (m *Manager) planted(ctx context.Context, b bottle.Bottle) (notes []string) {
	if b.Workspace != WorkspaceMount || b.Folder == "" {
		return nil
	}
	found, err := workspace.Planted(ctx, b.Folder, m.coversGit(b.Slug))
	if err != nil {
		return nil // the folder is gone, or nobody waits
	}
	for _, rel := range found[:min(len(found), maxPlaces)] {
		notes = append(notes, fmt.Sprintf("%q is a repository to git, which may run there what the agent configured: look before you go in", filepath.Join(b.Folder, rel)))
	}
	if more := len(found) - maxPlaces; more > 0 {
		notes = append(notes, fmt.Sprintf("and %d more such places", more))
	}
	return notes
}

// coversGit says whether a bottle has a .git of its own over the operator's. A
// plan that is lost does not tell; most have.
func (m *Manager) coversGit(slug string) bool {
	p, err := m.loadPlan(slug)
	return err != nil || slices.ContainsFunc(p.Find(plan.AgentService).Mounts, func(m plan.Mount) bool { return m.Target == plan.DotGit })
}

// within says whether a path is below dir, or dir itself.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
