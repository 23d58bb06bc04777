// Package state is the layout of $BOTTLE_HOME: where every document lies, who
// may write it, and how it is locked. It never speaks to an engine. docs/STATE.md
// says the same for readers of the directory.
//
//	$BOTTLE_HOME/            0700, the operator's own; refused where others may write
//	  id                     random, 16 hexadecimal digits; the label bottle.home
//	  config.yaml            optional, see Config
//	  bottles/ agents/ skills/   the operator's manifests
//	  ca/                    PEM files of CAs that upstreams may have besides the host's
//	  lock                   flock: whoever makes or removes what all bottles share
//	  state/<slug>/          0700
//	    lock                 flock: whoever changes this bottle
//	    metadata.json        bottle.Bottle; written before the first engine call
//	    docker-compose.yml   the plan, 0600; seccomp.json beside it
//	    egress/in/           by the host: routes.yaml, ca.crt, ca.key (0600), roots.pem, host.json
//	    egress/out/          by egress: ready, events.jsonl
//	    agent/in/            by the host, read by the agent: prompt.md, home/
//	    agent/certs/         by the host: the agent's whole trust store
//	    bringup.log          emptied when a bring-up starts
//	    teardown.log         emptied when a teardown starts
//	    .preserve            reapers keep their hands off
//	  history/<slug>/        after the stop: metadata.json, bringup.log, teardown.log,
//	                         compose.log, work.bundle, the sidecars' events
//
// Files that change are replaced by rename, so a reader never sees half of one.
package state
