// Package escape tries, against the real engine and real sidecars, to get out
// of a bottle. Each row of the threat model is a subtest of TestEscape, and
// each first shows that the way works: the same attack gets through where the
// wall is missing, the same request without the attack arrives. It has tests
// only.
package escape
