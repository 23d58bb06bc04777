package image

import (
	"fmt"
	"slices"
	"strings"

	"bottle/pkg/agent"
)

// Sidecar is the image that all sidecars run in: nothing but their static
// programs, each at the root.
func Sidecar(programs []File) Build {
	b := Build{From: "scratch", Labels: map[string]string{LabelProgram: "sidecar"}}
	b.Files = slices.SortedFunc(slices.Values(programs), func(x, y File) int { return strings.Compare(x.Name, y.Name) })
	for i, f := range b.Files {
		b.Files[i].Mode = 0o755
		b.Steps = append(b.Steps, fmt.Sprintf("COPY %s /%s", f.Name, f.Name))
	}
	b.Tag = b.tag("bottle-sidecar", "")
	return b
}

// Owner is whom a sidecar runs as: the owner of the state directory.
type Owner struct{ UID, GID int }

// Gate is the git gate's image: git and ssh on the base, its program at the root,
// a folder of its owner's for the repositories, and an entry for him among the
// users, without which ssh does not run. The steps that take long come first, so
// that a new program needs none of them again.
func Gate(base string, program File, o Owner, repos string) Build {
	program.Mode = 0o755
	b := Build{From: base, Labels: map[string]string{LabelProgram: program.Name}, Files: []File{program},
		Steps: []string{
			"RUN " + strings.Join([]string{
				"export DEBIAN_FRONTEND=noninteractive",
				"apt-get -qq update",
				"apt-get -qq -y upgrade",
				"apt-get -qq -y install --no-install-recommends git openssh-client",
				"rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/*",
			}, " \\\n && "),
			fmt.Sprintf("RUN install -d -o %d -g %d -m 0700 %s \\\n && if ! getent passwd %d; then echo gate:x:%d:%d::/nonexistent:/usr/sbin/nologin >> /etc/passwd; fi",
				o.UID, o.GID, repos, o.UID, o.UID, o.GID),
			fmt.Sprintf("COPY %s /%s", program.Name, program.Name),
		}}
	b.Tag = b.tag("bottle-git", "")
	return b
}

// User is whom an agent runs as, and the folders that are its own: volumes
// mounted there for the first time take the owner over.
type User struct {
	UID  int
	Home string
	Work string
}

// tools are the Debian packages that every agent finds.
var tools = []string{"bash", "ca-certificates", "curl", "git", "git-lfs", "jq", "less", "procps", "ripgrep", "tmux"}

// Tools is the image below all agents: the base, the tools, and the user.
func Tools(base string, u User) Build {
	b := Build{From: base, Steps: []string{
		"ENV LANG=C.UTF-8",
		"RUN " + strings.Join([]string{
			"export DEBIAN_FRONTEND=noninteractive",
			"apt-get -qq update",
			"apt-get -qq -y upgrade",
			"apt-get -qq -y install --no-install-recommends " + strings.Join(tools, " "),
			"git lfs install --system --skip-repo",
			// The engine copies what is in a volume's place: no leftovers there.
			"rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/*",
			fmt.Sprintf("groupadd --gid %d agent", u.UID),
			// No lastlog: a high uid would make it a huge sparse file.
			fmt.Sprintf("useradd --no-log-init --uid %d --gid %d --home-dir %s --create-home --shell /bin/bash agent", u.UID, u.UID, u.Home),
			fmt.Sprintf("install -d -o %d -g %d -m 0755 %s", u.UID, u.UID, u.Work),
		}, " \\\n && "),
	}}
	b.Tag = b.tag("bottle-tools", "")
	return b
}

// Newest stands in a tag for a version that the manifest leaves open.
const Newest = "newest"

// Agent is an agent's image on top of the tools' (its tag). Version is empty
// where the manifest leaves it open: then any image that was once built for
// this agent on these tools will do. Where dockerfile is not nil, it is the
// operator's own and replaces the last step (see Own).
//
// The agent's program, where it has one to fetch (agent.Packages), is not in it
// yet: its version alone decides the tag, so that hundreds of megabytes need
// neither be fetched nor read to know that the image exists. Add it with
// Provide before building.
func Agent(tools string, a agent.Agent, version string, dockerfile []byte) (Build, error) {
	b := Build{From: tools, Steps: a.Steps(), Labels: map[string]string{LabelProgram: a.Name()}}
	if dockerfile != nil {
		own, err := Own(dockerfile)
		if err != nil {
			return Build{}, err
		}
		b.Steps = []string{own}
	}
	if version == "" {
		version = Newest
	}
	hashed := b
	hashed.Steps = append([]string{"# version " + version}, b.Steps...)
	b.Tag = hashed.tag("bottle-agent", a.Name()+"-"+prefix(version))
	return b, nil
}

// prefix keeps what a tag may carry of a version; the hash tells the rest.
func prefix(version string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '_'
	}, version)
	return clean[:min(len(clean), 40)] + "-"
}
