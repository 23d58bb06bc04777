package agent

import (
	"fmt"
	"time"
)

// addSupervise tells Claude Code, in its own file of settings, of the server by
// which it asks its operator for more. url is empty where the bottle has none.
func addSupervise(settings map[string]any, url string) map[string]any {
	if url != "" {
		settings["mcpServers"] = map[string]any{
			// alwaysLoad: its tools are not hidden behind a search for tools.
			"supervise": map[string]any{"type": "http", "url": url, "alwaysLoad": true},
		}
	}
	return settings
}

// WallsSkill is the name of the skill that tells an agent of its walls.
const WallsSkill = "bottle-walls"

const wallsHead = `---
name: bottle-walls
description: What to do when a request is refused (403 from egress, a host that cannot be reached, a push held back, a package that cannot be installed). Read before looking for a way round.
---
`

const wallsText = `# The walls around you

You run in a bottle: a container with a network of its own. Nobody is in danger if you run commands, and nothing that
you do reaches the operator's machine. What leaves goes through a proxy, egress, with an allowlist.

- A request that is not on the allowlist is answered with 403. The status line and the body say why, and the header
  X-Bottle-Blocked is set. It is no fault of the network, and trying again changes nothing.
- Every foreign name resolves to egress. Direct connections, UDP, ICMP and other DNS servers lead nowhere.
- Credentials are added by egress on the hosts that the operator chose. You do not have them and need none there:
  send the request without.
- The root of the file system is read-only. /work, your home and /tmp are yours.
- What is open now: ` + "`curl -s http://_egress.local/allowlist`" + `
- This container was made from /etc/bottle/current-config/Dockerfile.
`

const wallsHeld = `
## A request that waits

What is not on the allowlist is not refused at once: it waits up to %v for the operator, once a host and first part
of its path, and goes on as it is where he says yes. So give programs a time-out above that (pip: --timeout %d), and
do not take a request that hangs for a broken network.
`

const wallsGit = `
## Git

Your remotes are kept by a gate, which scans all that you push and, where there is an upstream, sends it on. Use git
as ever: fetch, pull and push with the names that the repository has. You need no key and no token.

- A push in which something like a secret is found is refused, with lines such as "remote: git-gate: README.md:12 in
  3f9ac1d: github-pat". Take it out of every commit that you push (git rebase, git commit --amend), not only of the
  last, and push again. Where it is no secret, say so to the operator, to whom it was shown: once he has approved,
  push the same commits again.
- Branches move forward only: no force, no deletion. Push to a new branch instead.
`

const wallsPipelock = `
## The second scanner

Behind egress stands pipelock, which has a list of hosts and a scanner of its own. Its words begin with "blocked: ",
or stand behind "pipelock, behind egress, refuses". Where it takes for a secret what is none, the operator has been
asked already, unless it has no exception for it (a core DLP match, a header): go on with something else meanwhile.
`

const wallsPipelockTool = `- pipelock-block: one host on pipelock's list. Prefer egress-block, whose approval does this too: it is only for what
  egress lets through and pipelock refuses ("domain not in allowlist").
`

const wallsAsk = `
## Ask, do not fight

The MCP server "supervise" asks the operator and waits for the answer:

- egress-block: one host that you need. Say which paths and methods, for how long, and why: the narrower, the
  sooner it is granted.
- dlp-block: the scanner held something for a secret that is none.
%s- capability-block: another image of this container, such as one with a compiler: the whole Dockerfile.
- list-egress-routes: what is open now; asks nobody.

A call may take minutes: let it wait, or go on with something else. A "no" comes with a reason: keep to it.
`

const wallsAlone = `
The operator cannot be asked from here. Say at the end what you could not reach, and why it is needed.
`

// Enclosure is what of an agent's walls not every agent has.
type Enclosure struct {
	Ask      bool          // the operator can be asked
	Git      bool          // its remotes are behind a gate
	Pipelock bool          // a second scanner stands behind egress
	Held     time.Duration // how long a request waits that is not allowed
}

// Walls tells an agent what its walls are and what to do at them, as Markdown
// for whoever reads it, and as a skill.
func Walls(e Enclosure) (text, skill []byte) {
	body := wallsText
	if e.Held > 0 {
		body += fmt.Sprintf(wallsHeld, e.Held, e.Held/time.Second+15)
	}
	if e.Git {
		body += wallsGit
	}
	if e.Pipelock {
		body += wallsPipelock
	}
	if e.Ask {
		tool := ""
		if e.Pipelock {
			tool = wallsPipelockTool
		}
		body += fmt.Sprintf(wallsAsk, tool)
	} else {
		body += wallsAlone
	}
	return []byte(body), []byte(wallsHead + body)
}
