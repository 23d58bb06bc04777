// Package behind tries bottles with a second scanner behind egress: the tests' own
// stand-in, or the real pipelock of BOTTLE_PIPELOCK_IMAGE.
package behind
