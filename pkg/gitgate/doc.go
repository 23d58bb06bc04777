// Package gitgate is the sidecar that a bottle's git fetches from and pushes to.
// Every object that a push brings is scanned, and what may pass is forwarded to
// the upstream by exactly the IDs that were scanned; the push succeeds if and
// only if the upstream took it.
//
//	GET  /NAME.git/info/refs?service=git-upload-pack     refreshed from upstream
//	POST /NAME.git/git-upload-pack                       git's own upload-pack
//	GET  /NAME.git/info/refs?service=git-receive-pack    the same
//	POST /NAME.git/git-receive-pack                      below
//
// NAME is a remote of the configuration, exactly; everything else is a 403.
//
// # A push
//
// The commands are read by this package, the pack by git index-pack into a
// quarantine: a directory of its own whose objects no repository sees. There
// git checks it (fsck, size), and every object of it that the repository has not
// yet is scanned, whether a ref leads to it or not. Then come the refs: names,
// deletions, what is no fast-forward, .gitmodules. Findings, and pushes that
// need approval, become a proposal; a decision lets exactly these refs with
// these IDs and findings pass, when they are pushed again.
//
// What passes goes upstream as the pack that came, in one request to its
// git-receive-pack: all refs or none, each bound to the value that the agent saw.
// Before all of it may pass upstream is asked what it has, and sent nothing.
// A ref was taken where upstream says so. Only when it has taken all do the
// objects join the repository. So a repository holds nothing that was not
// upstream or has not passed, and a process that dies leaves a quarantine alone,
// which the next start removes. One without an upstream begins with what the
// operator's folder had.
package gitgate
