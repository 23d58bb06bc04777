// Package pipelock is what a bottle tells the pipelock behind its egress: its
// file, as it is made of a policy and as it is changed where it stands. It is
// pure: no I/O, no clock. It runs nothing, and judges no request.
//
// The file is the operator's as well. A change of it is made on the lines that are
// there, so that comments, order and his own keys stay.
package pipelock
