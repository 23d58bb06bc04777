package lifecycle

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
)

// networks makes the networks that are gone. What carries one's name and is not
// as planned leads somewhere that nobody knows, and is refused.
func (r *revival) networks(ctx context.Context) error {
	uplink, all, err := r.uplinkSubnet(ctx, hostPrefixes())
	if err != nil {
		return err
	}
	changed := false
	for i, n := range r.plan.Networks {
		if n.External {
			changed = changed || n.Subnet != uplink
			r.plan.Networks[i].Subnet = uplink
			if _, there := findNetwork(all, n.Name); !there {
				r.anew = append(r.anew, n.Name)
			}
			continue
		}
		if _, there := findNetwork(all, n.Name); there {
			if !slices.ContainsFunc(all, func(have engine.Network) bool { return have.Name == n.Name && asPlanned(have, n) }) {
				return fmt.Errorf("there is a network %s that is not as the bottle's was: %w", n.Name, ErrForeign)
			}
			continue
		}
		r.log.step("making the network %s anew", n.Name)
		r.anew = append(r.anew, n.Name)
		if err := r.network(ctx, i); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return r.rewrite()
}

// begin starts a container. What a killed resume asked of the engine may have made a
// second network of a name after this one had looked, in the subnet that the bottle
// has left: that goes, which nobody is in.
func (r *revival) begin(ctx context.Context, name string) error {
	err := r.start(ctx, name)
	if !errors.Is(err, engine.ErrAmbiguous) {
		return err
	}
	for _, n := range r.plan.Networks {
		if _, err := r.strays(ctx, n); err != nil {
			return err
		}
	}
	return r.start(ctx, name)
}

// strays removes networks of the bottle's own that carry n's name and are not as
// planned, and says whether one that is as planned is there.
func (r *revival) strays(ctx context.Context, n plan.Network) (there bool, err error) {
	all, err := r.Engine.Networks(ctx)
	if err != nil {
		return false, err
	}
	for _, have := range all {
		ours := have.Name == n.Name && have.Labels[plan.LabelHome] == n.Labels[plan.LabelHome] && have.Labels[plan.LabelSlug] == r.plan.Slug
		if there = there || ours && asPlanned(have, n); !ours || asPlanned(have, n) {
			continue
		}
		r.log.step("removing a second network %s", n.Name)
		if err := whole(ctx, func(ctx context.Context) error { return r.Engine.RemoveNetwork(ctx, have.ID) }); err != nil {
			return false, err
		}
	}
	return there, nil
}

// asPlanned says whether a network is one that we made as n says.
func asPlanned(have engine.Network, n plan.Network) bool {
	return have.Internal == n.Internal && have.Labels[plan.LabelHome] == n.Labels[plan.LabelHome] &&
		have.Labels[plan.LabelSlug] == n.Labels[plan.LabelSlug] && slices.Contains(have.Subnets, n.Subnet)
}

// network makes the i-th network, one of the bottle's own. Where somebody took its
// subnet meanwhile, the whole bottle moves: that is recorded before it is done, and
// what was made for the old one goes. A killed resume's request that lands once the
// bottle has moved has taken the name: that network goes, too.
func (r *revival) network(ctx context.Context, i int) (err error) {
	for range subnetTries {
		n := r.plan.Networks[i]
		err = whole(ctx, func(ctx context.Context) error { return r.Engine.CreateNetwork(ctx, n) })
		if errors.Is(err, engine.ErrConflict) {
			there, errStrays := r.strays(ctx, n)
			if errStrays != nil || there {
				return errStrays
			}
			continue
		}
		if !errors.Is(err, engine.ErrSubnetTaken) {
			return err
		}
		// A killed resume's request may have come to it just now: then it is ours that
		// is in the way, and an engine would make another of the same name.
		all, err := r.Engine.Networks(ctx)
		if err != nil {
			return err
		}
		if have, there := findNetwork(all, n.Name); there && asPlanned(have, n) {
			return nil
		}
		subnet, err := freeSubnet(r.Home.Config.SubnetPool, innerBits, takenSubnets(all, hostPrefixes()), pseudoRandom)
		if err != nil {
			return err
		}
		r.log.step("its subnet %s was taken: moving to %s", n.Subnet, subnet)
		r.plan.Move(subnet)
		if err := errors.Join(r.rewrite(), r.drop(ctx), r.before(ctx, i)); err != nil {
			return err
		}
	}
	return err
}

// before makes those networks of the bottle's own anew that come before the i-th:
// they have moved.
func (r *revival) before(ctx context.Context, i int) error {
	for j, n := range r.plan.Networks[:i] {
		err := whole(ctx, func(ctx context.Context) error { return r.Engine.RemoveNetwork(ctx, n.Name) })
		if err != nil {
			return err
		}
		r.anew = append(r.anew, n.Name)
		if err := r.network(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// drop removes all containers: none of them has the right address.
func (r *revival) drop(ctx context.Context) error {
	r.alive = false
	for service, c := range r.have {
		if err := whole(ctx, func(ctx context.Context) error { return r.Engine.Remove(ctx, c.Name) }); err != nil {
			return err
		}
		delete(r.have, service)
	}
	return nil
}

// rewrite writes what is derived of the plan, which changed.
func (r *revival) rewrite() error {
	compose, err := r.plan.Compose()
	if err != nil {
		return err
	}
	t := tree{root: r.bottle.StateDir}
	t.replace(plan.ComposeFile, compose, 0o600)
	t.replace(plan.ResolvFile, resolvConf(r.plan), 0o644)
	if t.err != nil {
		return t.err
	}
	return r.savePlan(r.plan)
}

// images makes sure that what must be made anew can be: an image that is gone is
// replaced by what the manifest says now.
func (r *revival) images(ctx context.Context) error {
	gone := map[string]bool{}
	for _, c := range r.plan.Containers {
		if _, there := r.have[c.Service]; there && r.fits(c) {
			continue
		}
		has, err := r.Engine.HasImage(ctx, c.Image)
		if err != nil {
			return err
		}
		if !has && c.Service == plan.PipelockService {
			return r.pipelockImage(ctx, c.Image)
		}
		if !has {
			gone[c.Image] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var err error
	if r.spec, err = r.again.Spec(ctx); err != nil {
		return fmt.Errorf("an image of the bottle's is gone, and cannot be made anew: %w", err)
	}
	if r.plan.Find(plan.GateService) != nil && !hasGate(r.spec) { // it is for the workspace's sake
		r.spec.Manifest.Git.Remotes = []manifest.Remote{manifest.Kept(manifest.DefaultRemote)}
	}
	if r.bringUp.images, err = r.planImages(r.spec); err != nil {
		return err
	}
	if err := r.makeImages(ctx); err != nil {
		return err
	}
	for i, c := range r.plan.Containers {
		if !gone[c.Image] {
			continue
		}
		switch c.Service {
		case plan.AgentService:
			r.plan.Containers[i].Image = r.bringUp.images.agent.Tag
		case plan.GateService:
			r.plan.Containers[i].Image = r.bringUp.images.gate.Tag
		default:
			r.plan.Containers[i].Image = r.bringUp.images.sidecar.Tag
		}
	}
	return r.rewrite()
}

// fits says whether a container that is there can go on as it is: it is still in
// the networks that it was made for. A sidecar that runs can be joined to them; an
// agent cannot, since what makes its way out fail at once is set when it starts,
// and gVisor sees no network that comes later.
func (r *revival) fits(c plan.Container) bool {
	have := r.have[c.Service]
	if have.Running() && c.Service != plan.AgentService {
		return true
	}
	for _, e := range c.Endpoints {
		if !slices.Contains(have.Networks, e.Network) || slices.Contains(r.anew, e.Network) {
			return false
		}
	}
	return true
}

// sidecar brings a sidecar to where it serves: one that runs may have been started
// just now, by a resume that was killed.
func (r *revival) sidecar(ctx context.Context, c plan.Container) error {
	if r.have[c.Service].Running() && !r.silent(c) {
		if err := r.rejoin(ctx, c); err != nil {
			return err
		}
		return r.awaitSidecar(ctx, c)
	}
	// One that was ready does not speak for the next.
	if err := os.RemoveAll(filepath.Join(r.bottle.StateDir, c.Service, "out", readyFile)); err != nil {
		return err
	}
	if slices.Contains(takers, c.Service) || c.Service == plan.PipelockService { // those that dial
		if err := r.refresh(c.Service); err != nil {
			return err
		}
	}
	if err := r.gitVolume(ctx, c); err != nil {
		return err
	}
	if err := r.restart(ctx, c); err != nil {
		return err
	}
	return r.awaitSidecar(ctx, c)
}

// silent says whether it is a pipelock that hangs, as egress says: one that has ended
// cannot say that it answers again.
func (r *revival) silent(c plan.Container) bool {
	return c.Service == plan.PipelockService && r.have[plan.EgressService].Running() && applied(r.bottle.StateDir, plan.EgressService).Silent
}

// gitVolume makes the git gate's volume where it is gone; one that is there stays.
func (r *revival) gitVolume(ctx context.Context, c plan.Container) error {
	if c.Service != plan.GateService {
		return nil
	}
	i := slices.IndexFunc(r.plan.Volumes, func(v plan.Volume) bool { return v.Key == plan.GitVolume })
	return whole(ctx, func(ctx context.Context) error { return r.Engine.CreateVolume(ctx, r.plan.Volumes[i]) })
}

// refresh tells a sidecar that dials what this machine's addresses, its way out and
// its root certificates are now: a machine that was restarted may have others, and no name
// may lead there. The git gate is told what the policy rests on now.
func (r *revival) refresh(service string) error {
	roots, err := r.roots()
	if err != nil {
		return err
	}
	host, err := hostFacts(wayOf(r.plan, service, r.again.Way.Proxy))
	if err != nil {
		return err
	}
	if service == plan.EgressService {
		if roots, err = r.pipelockRoots(r.again.Slug, roots); err != nil {
			return err
		}
	}
	t := tree{root: filepath.Join(r.bottle.StateDir, service, "in")}
	t.replace("roots.pem", roots, 0o600)
	if service == plan.PipelockService {
		t.err = cmp.Or(t.err, r.settled(r.again.Slug)) // it goes by the file that is there
	} else {
		t.replace(hostFile, host, 0o600)
	}
	if service == plan.GateService && t.err == nil {
		t.err = r.refreshGate(&t)
	}
	return t.err
}

// rejoin puts a running sidecar back into networks that it was taken out of.
func (r *revival) rejoin(ctx context.Context, c plan.Container) error {
	have := r.have[c.Service]
	for _, e := range c.Endpoints {
		if slices.Contains(have.Networks, e.Network) {
			continue
		}
		r.log.step("joining %s to %s", c.Service, e.Network)
		if err := whole(ctx, func(ctx context.Context) error { return r.Engine.Connect(ctx, c.Name, e) }); err != nil {
			return err
		}
	}
	return nil
}

// restart starts a container where it is, or else makes it anew: all that is
// worth keeping of it lies in volumes and in the state directory.
func (r *revival) restart(ctx context.Context, c plan.Container) error {
	if have, there := r.have[c.Service]; there {
		if r.fits(c) && !have.Running() {
			err := r.begin(ctx, c.Name)
			if err == nil || engine.Away(err) || ctx.Err() != nil {
				return err
			}
			r.log.step("%s cannot be started as it is: %v", c.Service, err)
		}
		r.log.step("making %s anew", c.Service)
		err := whole(ctx, func(ctx context.Context) error {
			if err := r.Engine.Stop(ctx, c.Name); err != nil { // kindly, if it runs
				return err
			}
			return r.Engine.Remove(ctx, c.Name)
		})
		if err != nil {
			return err
		}
	}
	if err := whole(ctx, func(ctx context.Context) error { return r.Engine.Create(ctx, c) }); err != nil {
		return err
	}
	return r.begin(ctx, c.Name)
}

// tryWalls runs the self-test in an agent's container that lives. Its answers are
// no stronger than that container: they tell of the engine, not of the agent.
func (r *revival) tryWalls(ctx context.Context) error {
	targets, err := r.targets(ctx)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(targets)
	if err != nil {
		return fmt.Errorf("cannot encode the self-test: %w", err)
	}
	r.log.step("trying the walls from inside")
	ctx, cancel := context.WithTimeout(ctx, selfTestTime)
	defer cancel()
	var out, said bytes.Buffer
	_, err = r.Engine.Exec(ctx, plan.ContainerName(r.again.Slug, plan.AgentService), engine.Exec{Cmd: []string{plan.InsideBin, "probe"},
		Stdin: bytes.NewReader(doc), Stdout: &bounded{w: &out, left: maxLine}, Stderr: &bounded{w: &said, left: maxLine}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSelfTest, err)
	}
	var results []probe.Result
	for line := range bytes.Lines(out.Bytes()) {
		var result probe.Result
		if err := json.Unmarshal(line, &result); err != nil {
			return fmt.Errorf("%w: its results cannot be read: %w: %s", ErrSelfTest, err, lastLine(said.String()))
		}
		results = append(results, result)
	}
	return r.verdict(results)
}
