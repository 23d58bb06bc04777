package operator

import (
	"cmp"
	"slices"
	"time"

	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// What shells offer comes from the disk: it is to be there at once, and an engine
// may take its time. What cannot be read is not offered.

// CompleteFormats offers what -o of a listing takes.
var CompleteFormats = cli.Words("json", "table", "tsv")

// CompleteAgents offers the agents that can be started.
var CompleteAgents = atHome(func(home *state.Home) (all []cli.Candidate) {
	agents, _ := manifest.Agents(home.Dir)
	for _, a := range agents {
		all = append(all, cli.Candidate{Value: a.Name, Help: a.Program + " in " + a.Bottle})
	}
	return all
})

// CompleteSlugs offers the bottles that exist.
var CompleteSlugs = atHome(living)

// CompletePast offers the bottles that exist, and those that left their history.
var CompletePast = atHome(func(home *state.Home) []cli.Candidate {
	all := living(home)
	past, _ := home.History()
	for _, p := range past {
		all = append(all, cli.Candidate{Value: p.Bottle.Slug, Help: "stopped"})
	}
	return all
})

// CompleteProposals offers what waits for a decision.
var CompleteProposals = atHome(func(home *state.Home) (all []cli.Candidate) {
	found, _ := Filed(home, false)
	for _, f := range found {
		all = append(all, cli.Candidate{Value: f.ID, Help: f.Slug + ": " + proposal.Summary(f.Proposal)})
	}
	return all
})

// CompleteGrants offers the grants in force.
var CompleteGrants = atHome(func(home *state.Home) (all []cli.Candidate) {
	d := decision.Decider{Home: home}
	slugs, _ := home.Slugs()
	for _, slug := range slugs {
		grants, _ := d.Grants(slug, time.Now(), false)
		for _, g := range grants {
			all = append(all, cli.Candidate{Value: g.ID, Help: slug + ": " + g.Summary})
		}
	}
	return all
})

// CompleteEdits offers what of the bottle in args can be edited.
func CompleteEdits(args []string) []cli.Candidate {
	return atHome(func(home *state.Home) []cli.Candidate {
		files := []string{"routes"}
		if b, err := home.Bottle(args[0]); err == nil && slices.Contains(b.Sidecars, plan.PipelockService) {
			files = append(files, plan.PipelockService)
		}
		return cli.Words(files...)(nil)
	})(nil)
}

func living(home *state.Home) (all []cli.Candidate) {
	slugs, _ := home.Slugs()
	for _, slug := range slugs {
		if b, err := home.Bottle(slug); err == nil {
			all = append(all, cli.Candidate{Value: slug, Help: b.Agent + " in " + cmp.Or(b.Folder, "an empty workspace")})
		}
	}
	return all
}

func atHome(list func(*state.Home) []cli.Candidate) func([]string) []cli.Candidate {
	return func([]string) []cli.Candidate {
		home, err := state.Open("")
		if err != nil {
			return nil
		}
		return list(home)
	}
}

// First offers what list does as the first argument, and what each of then does
// as one behind it.
func First(list func([]string) []cli.Candidate, then ...func([]string) []cli.Candidate) func([]string) []cli.Candidate {
	return func(args []string) []cli.Candidate {
		lists := append([]func([]string) []cli.Candidate{list}, then...)
		if len(args) >= len(lists) {
			return nil
		}
		return lists[len(args)](args)
	}
}
