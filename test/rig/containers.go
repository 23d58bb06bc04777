package rig

import "strings"

// Containers returns the names of all containers of a bottle, sorted by the
// engine, whether they run or not.
func (r *Rig) Containers(slug string) []string {
	r.t.Helper()
	return strings.Fields(r.Docker("ps", "-a", "--filter", "label=bottle.slug="+slug, "--format", "{{.Names}}"))
}

// DropContainers removes them, as somebody would by hand.
func (r *Rig) DropContainers(slug string) {
	r.t.Helper()
	for _, name := range r.Containers(slug) {
		r.Docker("rm", "-f", name)
	}
}
