// Package egress is the sidecar through which everything leaves a bottle: a
// forward proxy that judges each request against the bottle's policy, and the
// bottle's DNS server. It is not a general proxy: it speaks HTTP to both
// sides, looks into every TLS connection with the bottle's own CA, and refuses
// what it does not understand.
//
// The data path is its own, since net/http corrects on the way what a strict
// proxy must see. One goroutine serves a client's connection: reader finds a
// head, request.parse takes it apart on the raw bytes, front says whom it is
// for, policy.Decide judges, and only then a name is looked up and dialled. The
// head that goes upstream is written anew from what was judged; bodies stream
// through fixed buffers, and whatever was read is passed on before the next
// read. A body that has not arrived whole gets a goroutine of its own, so that
// an answer may come before the request has ended.
//
// A WebSocket is a request whose answer goes on: webSocket relays its frames,
// and scans each message of the client's as a body.
//
// HTTP/2 is net/http's, on both sides. Each stream is written as the HTTP/1.1
// request that it says, and goes through the same parser, judge, scanner and
// exchange as a client with a connection of its own; towards an upstream that
// speaks HTTP/2 it is a call on a line that many share.
package egress
