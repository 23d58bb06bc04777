// Package workspace carries an operator's folder into a bottle and brings the
// work back out. Pack reads the folder on the host, Unpack builds it inside,
// Capture makes a git bundle of what an agent left behind, and Check looks it
// over on the host. The package knows nothing of containers: its ends are
// readers, writers and directories.
//
// # The stream
//
// Pack writes and Unpack reads a tar stream. Its entries, in this order:
//
//	workspace.json      version and subdirectory, once, first
//	repo.json           begins a section: one repository (see type repo)
//	pack                at most 1 MiB of its git pack; repeated
//	tree/PATH           one file, symlink or directory of its working tree
//	index               input of git update-index -z --index-info; repeated
//	skip-worktree       NUL-ended paths with that flag; repeated
//	assume-unchanged    likewise
//	intent-to-add       likewise
//	end                 once, last: a stream without it was cut off
//
// The outermost section comes first; submodules and other repositories inside
// follow with sections of their own. The objects travel as a pack of branches,
// tags, replacements, HEAD, the upstreams of local branches, and what the index
// alone names.
// Stashes, notes, other remote branches, hooks, reflogs, and all configuration
// but a short list stay behind. A pack, unlike git bundle, also carries shallow
// histories and staged files, and needs no commit. The working tree comes over
// byte for byte, so nothing is checked out inside and no filter runs for it.
// In a git repository that is what is tracked, and what is neither tracked nor
// ignored; elsewhere it is everything, and Unpack makes a first commit of it.
// What git does not see as a file (FIFOs, sockets, empty folders) is not there
// in a repository's section.
//
// # The bundle
//
// Capture's bundle has, below refs/heads:
//
//	work            what HEAD named, detached or not; absent before a first commit
//	wip             work and the uncommitted rest on top as one commit; the same
//	                commit as work where there is no rest
//	start           the work as it was at first, uncommitted files included,
//	                where the capture was told its commit and it is still there
//	BRANCH          each branch of the agent
//	stash           the newest stash, if there is one
//	sub/PATH/…      the same for each repository inside the workspace
//
// The names above belong to Capture. A branch of the agent that would be in
// the way keeps its commits and gets another name: slashes become dashes and
// -1, -2, … is added. Bytes other than letters, digits and ._/+@=#,- are
// written %XX. A shallow history stays shallow: its boundary is in the bundle
// as refs/shallow/ID, and the bundle opens where those commits' parents exist
// or where these IDs are first written to .git/shallow. Where objects were
// missing from the start (a sparse partial clone) the boundary commits are
// prerequisites of the bundle instead.
//
// wip holds what is tracked, staged or neither tracked nor ignored, as it is in
// the working tree, line ends as the operator's settings and the attributes
// have them. A git-lfs pointer stays one where the file is unchanged since the
// start; other such files come whole, as nobody else has them. Repositories
// inside are not part of it, but for the commit IDs of submodules.
package workspace
